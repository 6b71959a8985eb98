"""Pictures with an alpha channel: what is transparent does not matter to the unit.

In each step the picture lies over a random background of natural colours and frequencies, so only
what is opaque can raise the score; the penalty `Opacity` removes what does not.

Mordvintsev, Pezzotti, Schubert, Olah 2018, Differentiable Image Parameterizations,
doi 10.23915/distill.00012.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.synthesis.parametrisations import Fourier, NaturalPhase, Parametrisation, Size
from seewhy.synthesis.penalties import Penalty

GREY = 0.5
_BACKGROUND = NaturalPhase()


@dataclass(frozen=True)
class Transparent(Parametrisation):
    """Another parametrisation with an alpha channel, the last one, from 0 to 1."""

    colours: Parametrisation = Fourier()  # noqa: RUF009  frozen

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name of the colours' parametrisation, with the addition."""
        return f"{self.colours.name} with transparency"

    @property
    def rate(self) -> float:  # type: ignore[override]
        """The learning rate of the colours' parametrisation."""
        return self.colours.rate

    def start(self, size: Size, seeds: Sequence[int]) -> list[Tensor]:
        """Return the parameters of the colours, then those of the alpha channel."""
        alpha = self.colours.start((1, *size[1:]), [seed + 1 for seed in seeds])
        return [*self.colours.start(size, seeds), *alpha]

    def picture(self, parameters: list[Tensor], size: Size) -> Float[Tensor, "rows c_and_1 h w"]:
        """Return colours and alpha."""
        half = len(parameters) // 2
        colours = self.colours.picture(parameters[:half], size)
        return torch.cat([colours, self.colours.picture(parameters[half:], (1, *size[1:]))], 1)

    def project(self, parameters: list[Tensor]) -> None:
        """Move the parameters back into their range, in place."""
        half = len(parameters) // 2
        self.colours.project(parameters[:half])
        self.colours.project(parameters[half:])


@dataclass(frozen=True)
class Opacity(Penalty):
    """The mean of the alpha channel, of pictures that have one."""

    weight: float = 1.0

    def of(self, pictures: Float[Tensor, "rows c h w"], rows: Tensor) -> Float[Tensor, " rows"]:
        """Return the opacity of each picture."""
        return self.weight * pictures[:, -1].mean((1, 2))


def over_backgrounds(
    pictures: Float[Tensor, "rows c_and_1 h w"], generators: Sequence[torch.Generator]
) -> Float[Tensor, "rows c h w"]:
    """Return the pictures over random backgrounds, each from its generator."""
    size = (pictures.shape[1] - 1, pictures.shape[2], pictures.shape[3])
    seeds = [int(torch.randint(2**31, (), generator=g)) for g in generators]
    background = _BACKGROUND.picture(_BACKGROUND.start(size, seeds), size)
    return over(pictures, background.to(pictures))


def over(
    pictures: Float[Tensor, "rows c_and_1 h w"], background: Tensor | float = GREY
) -> Float[Tensor, "rows c h w"]:
    """Return the pictures over a background."""
    alpha = pictures[:, -1:]
    return alpha * pictures[:, :-1] + (1 - alpha) * background
