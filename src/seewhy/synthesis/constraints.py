"""Hard constraints on pictures: after each step, the nearest picture that satisfies them.

    norm ball         at most this far from grey, or from a given picture
    variation ball    a total variation of at most this much
    within an area    changes only inside a mask

All are sets in the space of pixels, so they need the parametrisation `pixels` with squash=False.
The third kind of pre-image, besides energies and learned priors, of A. Vedaldi's tutorial on
understanding models (CVPR 2020).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

GREY = 0.5
STEPS = 40  # of the dual iteration for the total variation


class Constraint(ABC):
    """A closed set of pictures."""

    @abstractmethod
    def nearest(
        self, pictures: Float[Tensor, "rows c h w"], rows: Tensor
    ) -> Float[Tensor, "rows c h w"]:
        """Return the nearest pictures of the set; `rows` are their indices among all pictures."""


@dataclass(frozen=True, eq=False)
class NormBall(Constraint):
    """Pictures at most `radius` (root mean square over pixels and channels) from a centre."""

    radius: float
    centre: Float[Tensor, "count c h w"] | None = None

    def nearest(
        self, pictures: Float[Tensor, "rows c h w"], rows: Tensor
    ) -> Float[Tensor, "rows c h w"]:
        """Shrink the difference from the centre to the radius."""
        centre = _rows_of(self.centre, rows, pictures)
        difference = pictures - centre
        size = difference.pow(2).mean((1, 2, 3), keepdim=True).sqrt()
        return centre + difference * (self.radius / size.clamp_min(1e-12)).clamp(max=1)


@dataclass(frozen=True, eq=False)
class WithinMask(Constraint):
    """Pictures that equal `pictures` where the mask is 0."""

    pictures: Float[Tensor, "count c h w"]
    mask: Float[Tensor, "masks 1 h w"]

    def nearest(
        self, pictures: Float[Tensor, "rows c h w"], rows: Tensor
    ) -> Float[Tensor, "rows c h w"]:
        """Put the given pictures back outside the mask."""
        inside = _rows_of(self.mask, rows, pictures) > 0
        return torch.where(inside, pictures, _rows_of(self.pictures, rows, pictures))


@dataclass(frozen=True)
class VariationBall(Constraint):
    """Pictures whose mean absolute variation per pixel (isotropic) is at most `most`."""

    most: float

    def nearest(
        self, pictures: Float[Tensor, "rows c h w"], rows: Tensor
    ) -> Float[Tensor, "rows c h w"]:
        """Return the projection: total-variation denoising with the smallest sufficient weight.

        The weight is found by bisection; for each, the dual problem is solved by projected
        gradients (Chambolle 2004, doi 10.1023/B:JMIV.0000011325.36760.1e).
        """
        outside = variation(pictures) > self.most
        if not bool(outside.any()):
            return pictures
        low = pictures.new_zeros(len(pictures))
        high = torch.full_like(low, 1.0)
        for _ in range(12):
            middle = (low + high) / 2
            too_rough = variation(_denoised(pictures, middle)) > self.most
            low, high = torch.where(too_rough, middle, low), torch.where(too_rough, high, middle)
        return torch.where(outside[:, None, None, None], _denoised(pictures, high), pictures)


def variation(pictures: Float[Tensor, "rows c h w"]) -> Float[Tensor, " rows"]:
    """Return the mean over pixels of the length of the gradient, over all channels."""
    return _gradient(pictures).pow(2).sum((1, 2)).sqrt().mean((1, 2))


def _denoised(
    pictures: Float[Tensor, "rows c h w"], weight: Float[Tensor, " rows"]
) -> Float[Tensor, "rows c h w"]:
    """Return argmin of |x - picture|^2 / 2 + weight * sum of gradient lengths, of each row."""
    weight = weight[:, None, None, None].clamp_min(1e-9)
    dual = torch.zeros_like(_gradient(pictures))
    for _ in range(STEPS):
        moved = dual + _gradient(pictures + weight * _divergence(dual)) / (8 * weight[:, None])
        length = moved.pow(2).sum((1, 2), keepdim=True).sqrt()
        dual = moved / length.clamp_min(1)
    return pictures + weight * _divergence(dual)


def _gradient(pictures: Float[Tensor, "rows c h w"]) -> Float[Tensor, "rows 2 c h w"]:
    """Return forward differences down and across, 0 at the last row and column."""
    down, across = torch.zeros_like(pictures), torch.zeros_like(pictures)
    down[:, :, :-1] = pictures[:, :, 1:] - pictures[:, :, :-1]
    across[:, :, :, :-1] = pictures[:, :, :, 1:] - pictures[:, :, :, :-1]
    return torch.stack([down, across], 1)


def _divergence(field: Float[Tensor, "rows 2 c h w"]) -> Float[Tensor, "rows c h w"]:
    """Return minus the adjoint of `_gradient`."""
    down, across = field[:, 0, :, :-1], field[:, 1, :, :, :-1]
    result = torch.zeros_like(field[:, 0])
    result[:, :, :-1] += down
    result[:, :, 1:] -= down
    result[:, :, :, :-1] += across
    result[:, :, :, 1:] -= across
    return result


def _rows_of(given: Tensor | None, rows: Tensor, pictures: Tensor) -> Tensor:
    if given is None:
        return torch.full_like(pictures[:1], GREY)
    return (given if len(given) == 1 else given[rows.cpu()]).to(pictures)
