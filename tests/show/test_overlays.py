import numpy as np
import pytest
import torch

from seewhy.attribution.drawing import display_sigma, draw
from seewhy.show.overlay import dim, hatch, map_only, overlay, smooth


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(3, 12, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("signed", [False, True])
def test_without_evidence_the_picture_stays_readable(picture, signed):
    assert torch.allclose(overlay(picture, torch.zeros(12, 16), signed), dim(picture))


def test_the_stronger_the_evidence_the_less_of_the_picture(picture):
    heatmap = torch.linspace(0, 1, 16).expand(12, 16)
    dark, light = torch.zeros_like(picture), torch.ones_like(picture)
    seen = (overlay(light, heatmap, False) - overlay(dark, heatmap, False)).sum(0)[0]
    assert (seen.diff() < 0)[:-1].all()
    assert seen[-1] > 0.1  # texture is still visible


def test_only_the_sign_decides_the_hue(picture):
    heatmap = torch.full((12, 16), 0.3)
    heatmap[:, 8:] = -0.3
    red, _, blue = overlay(picture * 0 + 0.5, heatmap, True)
    assert (red > blue)[:, :8].all()
    assert (red < blue)[:, 8:].all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_striped_and_seen(picture, bad):
    heatmap = torch.rand(12, 16)
    heatmap[2:8, 2:8] = bad
    for image in (overlay(picture, heatmap, True), map_only(heatmap, False)):
        patch = image[:, 2:8, 2:8]
        assert torch.equal(patch[0], patch[1])
        assert sorted({round(v, 2) for v in patch[0].flatten().tolist()}) == [0.45, 0.65]


def test_hatch_leaves_the_rest_alone(picture):
    where = torch.zeros(12, 16, dtype=torch.bool)
    where[0, 0] = True
    changed = (hatch(picture, where) != picture).any(0)
    assert torch.equal(changed, where)


def test_grey_pictures_are_drawn_too():
    assert overlay(torch.rand(1, 4, 4), torch.rand(4, 4), False).shape == (3, 4, 4)


def test_smooth_is_a_gaussian_average_over_finite_neighbours():
    heatmap = torch.randn(6, 7, generator=torch.Generator().manual_seed(2))
    heatmap[2, 3] = float("nan")
    got = smooth(heatmap, 0.8)
    rows, columns = np.mgrid[:6, :7]
    values = heatmap.double().numpy()
    for y, x in [(0, 0), (2, 2), (5, 6), (3, 3)]:
        near = (abs(rows - y) <= 2) & (abs(columns - x) <= 2) & np.isfinite(values)
        weight = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 0.8**2)) * near
        want = np.nansum(weight * values) / weight.sum()
        assert got[y, x].item() == pytest.approx(want, abs=1e-5)
    assert torch.equal(got.isnan(), heatmap.isnan())
    assert smooth(heatmap, 0.0) is heatmap


def test_only_maps_made_of_pixels_are_smoothed(explanation, unsigned):
    assert display_sigma(explanation) == 0  # the picture is too small
    assert display_sigma(unsigned) == 0  # the map is coarse


def test_drawing_never_changes_the_values(explanation):
    before = explanation.heatmap.clone()
    drawing = draw(explanation, 1)
    assert torch.equal(explanation.heatmap, before)
    assert drawing.overlay.shape == drawing.map.shape == drawing.picture.shape == (3, 12, 16)
    assert torch.equal(drawing.picture, explanation.batch.pixels[1])
