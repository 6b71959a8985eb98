"""Penalties of pictures, the regularisers of an energy: one number for each picture.

    total variation   sum of (squared differences of neighbours) ^ (beta / 2)
    alpha norm        mean of |pixel - grey| ^ alpha, which keeps values in range
    l2                the squared distance from grey
    nearness          the squared distance from a given picture

Mahendran, Vedaldi, Understanding Deep Image Representations by Inverting Them, CVPR 2015,
arXiv 1412.0035; Visualizing Deep CNNs Using Natural Pre-images, IJCV 2016, arXiv 1512.02017.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

GREY = 0.5
SMALL = 1e-8  # the square root of the variation has no gradient at 0


class Penalty(ABC):
    """A penalty of pictures in [0, 1]; `weight` multiplies it."""

    weight: float

    @abstractmethod
    def of(self, pictures: Float[Tensor, "rows c h w"], rows: Tensor) -> Float[Tensor, " rows"]:
        """Return the penalty of each picture; `rows` are their indices among all pictures."""


@dataclass(frozen=True)
class TotalVariation(Penalty):
    """The mean over pixels of the variation, to the power beta / 2."""

    weight: float = 1.0
    beta: float = 2.0

    def of(self, pictures: Float[Tensor, "rows c h w"], rows: Tensor) -> Float[Tensor, " rows"]:
        """Return the total variation of each picture."""
        across = pictures[:, :, :-1, 1:] - pictures[:, :, :-1, :-1]
        down = pictures[:, :, 1:, :-1] - pictures[:, :, :-1, :-1]
        squared = (across**2 + down**2).sum(1)
        if self.beta != 2:
            squared = (squared + SMALL) ** (self.beta / 2)
        return self.weight * squared.mean((1, 2))


@dataclass(frozen=True)
class AlphaNorm(Penalty):
    """The mean of `|2 (pixel - grey)| ^ alpha`."""

    weight: float = 1.0
    alpha: float = 6.0

    def of(self, pictures: Float[Tensor, "rows c h w"], rows: Tensor) -> Float[Tensor, " rows"]:
        """Return the alpha norm of each picture."""
        return self.weight * (2 * (pictures - GREY)).abs().pow(self.alpha).mean((1, 2, 3))


@dataclass(frozen=True, eq=False)
class Nearness(Penalty):
    """The mean squared distance from given pictures, one for each, or one for all."""

    pictures: Float[Tensor, "count c h w"]
    weight: float = 1.0

    def of(self, pictures: Float[Tensor, "rows c h w"], rows: Tensor) -> Float[Tensor, " rows"]:
        """Return the distance of each picture."""
        there = self.pictures if len(self.pictures) == 1 else self.pictures[rows]
        return self.weight * (pictures - there.to(pictures)).pow(2).mean((1, 2, 3))


def penalty(penalties: tuple[Penalty, ...], pictures: Tensor, rows: Tensor) -> Tensor:
    """Return the sum of the penalties of each picture."""
    return sum((e.of(pictures, rows) for e in penalties), torch.zeros(len(pictures)).to(pictures))
