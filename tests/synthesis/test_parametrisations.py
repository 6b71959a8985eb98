"""Parametrisations: their pictures, their inverses, and that a row depends on its seed alone."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from seewhy.errors import SeewhyError, Unknown
from seewhy.synthesis.colours import CORRELATION, correlated, decorrelated
from seewhy.synthesis.deep_image_prior import DeepImagePrior
from seewhy.synthesis.generator_prior import GeneratorPrior
from seewhy.synthesis.parametrisations import (
    PARAMETRISATIONS,
    Fourier,
    NaturalPhase,
    Pixels,
    parametrisation,
)
from seewhy.synthesis.spectrum import magnitudes
from seewhy.synthesis.transparency import Transparent

SIZES = [(3, 16, 16), (1, 15, 22), (5, 9, 8)]
SMALL_PRIOR = DeepImagePrior(channels=(4, 8), skips=2, inputs=4)
DECODER = nn.Sequential(nn.Linear(6, 3 * 16 * 16), nn.Unflatten(1, (3, 16, 16)), nn.Tanh())
MADE = [*PARAMETRISATIONS.values(), Pixels(squash=False), SMALL_PRIOR, Transparent()]
each = pytest.mark.parametrize("made", MADE, ids=lambda m: f"{type(m).__name__} {m.name}")


@each
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_row_depends_on_its_seed_alone(made, size):
    pictures = made.picture(made.start(size, [7, 8, 9]), size)
    alone = made.picture(made.start(size, [8]), size)
    channels = size[0] + isinstance(made, Transparent)
    assert pictures.shape == (3, channels, *size[1:])
    assert float(pictures.min()) >= 0 and float(pictures.max()) <= 1
    assert not torch.equal(pictures[0], pictures[1])
    torch.testing.assert_close(pictures[1:2], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made", [Pixels(), Pixels(squash=False), Fourier()])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_picture_comes_back_from_its_parameters(made, size):
    given = 0.05 + 0.9 * torch.rand(2, *size)
    torch.testing.assert_close(made.picture(made.at(given), size), given, rtol=0, atol=1e-4)


@pytest.mark.parametrize("made", [NaturalPhase(), SMALL_PRIOR])
def test_what_cannot_start_from_a_picture_says_so(made):
    with pytest.raises(SeewhyError, match="cannot start from a picture"):
        made.at(torch.rand(1, 3, 8, 8))


def test_colours_are_those_of_lucid():
    """The matrix of the article's code, divided by its largest column norm."""
    root = np.array([[0.26, 0.09, 0.02], [0.27, 0, -0.05], [0.27, -0.09, 0.03]])
    root /= np.sqrt((root**2).sum(0)).max()
    np.testing.assert_allclose(CORRELATION.numpy(), root, rtol=1e-6)
    components = torch.randn(2, 3, 4, 5, dtype=torch.double)
    by_hand = np.einsum("bchw,dc->bdhw", components.numpy(), root)
    np.testing.assert_allclose(correlated(components).numpy(), by_hand, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(decorrelated(correlated(components)), components)
    torch.testing.assert_close(correlated(components[:, :2]), components[:, :2])


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 12)])
def test_fourier_pictures_are_those_of_a_plain_inverse_transform(height, width):
    """lucid: coefficients / max(frequency, 1 / longer side), times sqrt(h w), inverse, / 4."""
    (coefficients,) = Fourier().start((3, height, width), [3])
    spectrum = torch.view_as_complex(coefficients)[0].numpy().astype(complex)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.maximum(np.sqrt(rows**2 + columns**2), 1 / max(height, width))
    scaled = spectrum / frequency * np.sqrt(height * width)
    waves = np.stack([np.fft.irfft2(c, (height, width)) for c in scaled]) / 4
    root = CORRELATION.numpy()
    expected = 1 / (1 + np.exp(-np.einsum("chw,dc->dhw", waves, root)))
    made = Fourier().picture([coefficients], (3, height, width))[0].numpy()
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_phases_have_the_magnitudes_of_natural_pictures():
    size = (3, 32, 32)
    expected = magnitudes(size)
    waves = decorrelated(NaturalPhase().picture(NaturalPhase().start(size, [0]), size).logit())
    found = torch.fft.rfft2(waves, norm="ortho").abs()[0]
    inside = (slice(None), slice(1, 15), slice(1, 15))  # where no coefficient is its own conjugate
    ratio = (found[inside] / expected[inside]).flatten()
    assert float(ratio.std() / ratio.mean()) < 1e-3


@pytest.mark.parametrize("size", [(64, 64), (224, 100)])
def test_the_shipped_spectrum_falls_as_in_nature(size):
    """About 1 / frequency (Field 1987), brightness above the two differences of colours."""
    values = magnitudes((3, *size))
    rows, columns = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])
    frequency = (rows**2 + columns**2).sqrt()
    band = (frequency > 0.03) & (frequency < 0.3)
    slope = np.polyfit(frequency[band].log().numpy(), values[0][band].log().numpy(), 1)[0]
    assert -1.6 < slope < -0.9
    assert float(values[0][band].mean()) > float(values[1][band].mean())
    assert not bool(values[:, 0, 0].any())


def test_the_shipped_spectrum_agrees_with_one_measured_elsewhere():
    real = os.environ.get("SEEWHY_REAL")
    if not real:
        pytest.skip("set SEEWHY_REAL to the folder with the reference spectrum")
    reference = torch.from_numpy(np.load(f"{real}/data/natural_spectrum_decorrelated.npy"))
    ours = magnitudes((3, 512, 512))
    for channel in range(3):
        a, b = (v[channel, 1:200, 1:200].log().flatten() for v in (reference, ours))
        assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) > 0.85


def test_a_generator_is_scaled_resized_and_penalised():
    prior = GeneratorPrior(DECODER, (6,), prior=2.0, truncation=1.5)
    (codes,) = prior.start((3, 32, 20), [1, 2])
    with torch.no_grad():
        pictures = prior.picture([codes], (3, 16, 16))
        torch.testing.assert_close(pictures, (DECODER(codes) + 1) / 2)
        assert prior.picture([codes], (1, 32, 20)).shape == (2, 1, 32, 20)
    torch.testing.assert_close(prior.penalty([codes]), (codes**2).mean(1))
    far = [torch.tensor([[3.0, -2, 0, 0, 0, 0]])]
    prior.project(far)
    assert far[0].tolist() == [[1.5, -1.5, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GeneratorPrior(DECODER, (6,), low=1, high=1), "low to high"),
        (lambda: GeneratorPrior(DECODER, ()), "a shape such as"),
        (lambda: GeneratorPrior(nn.Identity(), (6,)).picture([torch.zeros(1, 6)], (3, 8, 8)),
         "must return"),
        (lambda: GeneratorPrior(DECODER, (6,)).picture([torch.zeros(1, 6)], (5, 8, 8)),
         "have 3 channels, but the model takes 5"),
        (lambda: DeepImagePrior(channels=()), "at least one scale"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(make, says):
    with pytest.raises(SeewhyError, match=says):
        make()


def test_names():
    assert parametrisation("phase").name == "phase"
    with pytest.raises(Unknown, match="did you mean fourier"):
        parametrisation("furrier")
