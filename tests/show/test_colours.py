import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seewhy.show.colour import Range, diverging, lab_to_rgb, normalise, scale, sequential

STEPS = torch.linspace(0, 1, 101)
maps = arrays(np.float32, (5, 7), elements=st.floats(-1e6, 1e6, width=32))
maps_with_gaps = arrays(np.float32, (5, 7), elements=st.floats(width=32))


def lightness(rgb: torch.Tensor) -> np.ndarray:
    """Return CIELAB L* for sRGB, from the standard's decoding and luminance coefficients."""
    values = rgb.double().numpy()
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    y = np.tensordot([0.2126729, 0.7151522, 0.0721750], linear, axes=1)
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)


def test_sequential_grows_evenly_in_lightness():
    steps = np.diff(lightness(sequential(STEPS)))
    assert steps.min() > 0
    assert steps.max() < 1.8 * steps.mean()


def test_diverging_has_the_same_lightness_on_both_sides():
    forward, backward = lightness(diverging(STEPS)), lightness(diverging(-STEPS))
    assert np.abs(forward - backward).max() < 0.5
    steps = np.diff(forward)
    np.testing.assert_allclose(steps, steps.mean(), atol=0.1)


def test_diverging_is_grey_at_zero_and_tells_the_signs_apart():
    red, green, blue = diverging(torch.zeros(()))
    assert max(red, green, blue) - min(red, green, blue) < 1e-3
    warm, cold = diverging(torch.tensor(1.0)), diverging(torch.tensor(-1.0))
    assert warm[0] > warm[2] + 0.5
    assert cold[2] > cold[0] + 0.5


def test_diverging_keeps_inside_what_srgb_can_show(monkeypatch):
    unclipped = []

    def remember(lab):
        unclipped.append(lab_to_rgb(lab))
        return unclipped[-1]

    monkeypatch.setattr("seewhy.show.colour.lab_to_rgb", remember)
    diverging(torch.cat([-STEPS, STEPS]))
    assert unclipped[0].min() > -1e-3
    assert unclipped[0].max() < 1.001


def test_lab_to_rgb_knows_the_standard_colours():
    white, mid_red = torch.tensor([100.0, 0.0, 0.0]), torch.tensor([53.2408, 80.0925, 67.2032])
    assert torch.allclose(lab_to_rgb(white), torch.ones(3), atol=1e-3)
    assert torch.allclose(lab_to_rgb(mid_red), torch.tensor([1.0, 0.0, 0.0]), atol=2e-3)


@pytest.mark.parametrize("colours", [sequential, diverging])
def test_nan_is_grey_and_shape_comes_first(colours):
    rgb = colours(torch.tensor([[0.3, float("nan"), 1.0]]))
    assert rgb.shape == (3, 1, 3)
    assert rgb[:, 0, 1].tolist() == [0.5, 0.5, 0.5]
    assert rgb.isfinite().all()


@given(maps)
def test_scale_of_maps_with_both_signs_has_zero_in_the_middle(values):
    values[0, :2] = 1, -1
    low, high = scale(torch.from_numpy(values), signed=True)
    assert low == -high <= 0
    assert high <= np.abs(values).max()
    if (values != 0).any():
        assert high > 0


@given(maps)
def test_scale_of_other_maps_has_zero_at_the_bottom(values):
    values[0, 0] = 0
    low, high = scale(torch.from_numpy(np.abs(values)), signed=False)
    assert low == 0 <= high <= np.abs(values).max()
    low, high = scale(torch.from_numpy(values), signed=False)
    assert min(0, values.min()) <= low <= 0 <= high


@given(maps_with_gaps, st.booleans())
def test_every_map_can_be_normalised(values, signed):
    heatmap = torch.from_numpy(values)
    shown = normalise(heatmap, scale(heatmap, signed), signed)
    assert torch.equal(shown.isnan(), ~heatmap.isfinite())
    kept = shown[~shown.isnan()]
    assert ((kept >= (-1 if signed else 0)) & (kept <= 1)).all()


def test_a_few_extremes_do_not_darken_the_rest():
    heatmap = torch.linspace(0, 1, 10_000).reshape(100, 100)
    heatmap[0, 0] = 1e6
    assert 0.98 < scale(heatmap, signed=False).high < 1.0
    assert -1.0 < scale(-heatmap, signed=True).low < -0.98


def test_a_map_with_one_strong_pixel_is_not_called_empty():
    heatmap = torch.zeros(100, 100)
    heatmap[3, 4] = 2.5
    assert scale(heatmap, signed=False) == Range(0.0, 2.5)
    assert scale(heatmap, signed=True) == Range(0.0, 2.5)
    assert scale(-heatmap, signed=True) == Range(-2.5, 0.0)


@pytest.mark.parametrize(("signed", "sign"), [(False, 1), (True, 1), (True, -1)])
def test_what_all_places_share_has_no_colour(signed, sign):
    pedestal = torch.full((40, 40), 5.0)
    pedestal[10:20, 10:20] = 6.0
    shown = normalise(sign * pedestal, scale(sign * pedestal, signed), signed)
    assert shown[12, 12] == sign
    assert shown[30, 30] == 0


def test_a_signed_map_without_negative_values_uses_all_of_its_orange():
    heatmap = torch.linspace(0, 1, 400).reshape(20, 20)
    shown = normalise(heatmap, scale(heatmap, signed=True), signed=True)
    assert shown.min() == 0 and shown.max() == 1


@pytest.mark.parametrize("signed", [False, True])
def test_flat_and_empty_maps(signed):
    assert scale(torch.full((4, 4), 3.0), signed).high == 3.0
    assert scale(torch.zeros(4, 4), signed) == (0, 0)
    assert scale(torch.full((4, 4), float("nan")), signed) == (0, 0)
    assert normalise(torch.zeros(4, 4), Range(0.0, 0.0), signed).tolist() == [[0.0] * 4] * 4
