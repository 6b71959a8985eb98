"""Parametrisations of pictures: the numbers that the optimisation changes, and their pictures.

    pixels    the picture itself, through a sigmoid or within a range
    fourier   its Fourier coefficients, scaled like those of natural pictures, in decorrelated
              colours (Olah et al. 2017, doi 10.23915/distill.00007)
    phase     the phases alone; the magnitudes are those of natural pictures (MaCo: Fel et al. 2023,
              arXiv 2306.06805)

A parametrisation makes the parameters of each picture from a seed of its own, so that a picture
does not depend on the others of its batch. Adding one means adding a class to `PARAMETRISATIONS`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seewhy.errors import SeewhyError, Unknown
from seewhy.synthesis.colours import correlated, decorrelated
from seewhy.synthesis.spectrum import magnitudes

Size = tuple[int, int, int]  # channels, height, width

EDGE = 1e-3  # the logit of a pixel is computed at least this far from 0 and 1


class Parametrisation(ABC):
    """How pictures are described by parameters. `rate`: the learning rate of Adam."""

    name: str
    rate: float

    @abstractmethod
    def start(self, size: Size, seeds: Sequence[int]) -> list[Tensor]:
        """Return the initial parameters, each with one row per seed."""

    @abstractmethod
    def picture(self, parameters: list[Tensor], size: Size) -> Float[Tensor, "rows c h w"]:
        """Return the pictures, in [0, 1], one per row; differentiable."""

    def at(self, pictures: Float[Tensor, "rows c h w"]) -> list[Tensor]:
        """Return the parameters of given pictures, to start from.

        Raises SeewhyError if the parametrisation cannot represent them.
        """
        raise SeewhyError(
            f"the parametrisation {self.name} cannot start from a picture; use pixels or fourier"
        )

    def project(self, parameters: list[Tensor]) -> None:
        """Move the parameters back into their range, in place, after a step."""
        return

    def penalty(self, parameters: list[Tensor]) -> Float[Tensor, " rows"]:
        """Return a penalty of the parameters of each row, such as minus the log of a prior."""
        return parameters[0].new_zeros(len(parameters[0]))

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The user's networks that make the pictures; they run in evaluation mode."""
        return ()


@dataclass(frozen=True)
class Pixels(Parametrisation):
    """The pixels. `squash`: through a sigmoid; otherwise they are clamped to [0, 1].

    - `spread`: the standard deviation of the noise at the start, around grey.
    """

    squash: bool = True
    spread: float = 0.1
    rate: float = 0.05
    name = "pixels"

    def start(self, size: Size, seeds: Sequence[int]) -> list[Tensor]:
        """Return noise around grey."""
        noise = self.spread * normal(size, seeds)
        return [noise if self.squash else (0.5 + noise).clamp(0, 1)]

    def picture(self, parameters: list[Tensor], size: Size) -> Float[Tensor, "rows c h w"]:
        """Return the pixels."""
        return parameters[0].sigmoid() if self.squash else parameters[0]

    def at(self, pictures: Float[Tensor, "rows c h w"]) -> list[Tensor]:
        """Return the parameters of given pictures."""
        return [pictures.clamp(EDGE, 1 - EDGE).logit() if self.squash else pictures.clone()]

    def project(self, parameters: list[Tensor]) -> None:
        """Clamp pixels to [0, 1]."""
        if not self.squash:
            parameters[0].clamp_(0, 1)


@dataclass(frozen=True)
class Fourier(Parametrisation):
    """Fourier coefficients, scaled by 1 / frequency, in decorrelated colours, through a sigmoid.

    - `spread`: the standard deviation of the coefficients at the start.
    """

    spread: float = 0.01
    rate: float = 0.05
    name = "fourier"

    def start(self, size: Size, seeds: Sequence[int]) -> list[Tensor]:
        """Return random coefficients, [rows, channels, height, width // 2 + 1, 2]."""
        channels, height, width = size
        return [self.spread * normal((channels, height, width // 2 + 1, 2), seeds)]

    def picture(self, parameters: list[Tensor], size: Size) -> Float[Tensor, "rows c h w"]:
        """Return the pictures of the coefficients."""
        spectrum = torch.view_as_complex(parameters[0]) * _scale(size).to(parameters[0])
        waves = torch.fft.irfft2(spectrum, s=size[1:], norm="ortho")
        return correlated(waves).sigmoid()

    def at(self, pictures: Float[Tensor, "rows c h w"]) -> list[Tensor]:
        """Return the coefficients of given pictures."""
        waves = decorrelated(pictures.clamp(EDGE, 1 - EDGE).logit())
        spectrum = torch.fft.rfft2(waves, norm="ortho")
        size = (pictures.shape[1], pictures.shape[2], pictures.shape[3])
        return [torch.view_as_real(spectrum / _scale(size).to(pictures)).contiguous()]


@dataclass(frozen=True)
class NaturalPhase(Parametrisation):
    """The phases of the Fourier coefficients; their magnitudes are those of natural pictures."""

    rate: float = 0.1
    name = "phase"

    def start(self, size: Size, seeds: Sequence[int]) -> list[Tensor]:
        """Return random phases, in radians."""
        channels, height, width = size
        return [math.pi * normal((channels, height, width // 2 + 1), seeds)]

    def picture(self, parameters: list[Tensor], size: Size) -> Float[Tensor, "rows c h w"]:
        """Return the pictures of the phases, each of mean 0 and standard deviation 1 before the
        sigmoid."""
        spectrum = torch.polar(magnitudes(size).to(parameters[0]).expand_as(parameters[0]),
                               parameters[0])  # fmt: skip
        waves = torch.fft.irfft2(spectrum, s=size[1:], norm="ortho")
        deviation, mean = torch.std_mean(waves, dim=(1, 2, 3), keepdim=True)
        return correlated((waves - mean) / deviation).sigmoid()


PARAMETRISATIONS = {p.name: p for p in (Pixels(), Fourier(), NaturalPhase())}


def parametrisation(given: str | Parametrisation) -> Parametrisation:
    """Return a parametrisation by name, or the given one; raises Unknown for another name."""
    if isinstance(given, Parametrisation):
        return given
    if given not in PARAMETRISATIONS:
        hint = f"there are {', '.join(PARAMETRISATIONS)}"
        raise Unknown("parametrisation", given, PARAMETRISATIONS, hint)
    return PARAMETRISATIONS[given]


def normal(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """Return standard normal numbers, [seeds, *shape]; a row depends on its seed alone."""
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    return torch.stack([torch.randn(*shape, generator=g) for g in generators])


def _scale(size: Size) -> Float[Tensor, "height half"]:
    """Return the scale of each coefficient: 1 / frequency, at most that of the lowest one.

    Lucid divides pictures by 4 and normalises its inverse transform by the number of pixels, after
    a scale that contains its root; with `norm="ortho"` only the 4 is left.
    """
    _, height, width = size
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    frequency = (rows**2 + columns**2).sqrt().clamp_min(1 / max(height, width))
    return 1 / (4 * frequency)
