"""Smooth masks from a coarse lattice, by maximum convolution.

    M(u) = smooth max over lattice points v of k(|u - v| / sigma) m(v)
    k(z) = exp(-2 max(0, z - 1/2)^2),    smooth max of w = sum(w softmax(20 w))

so that a mask has no detail finer than sigma, and no weaker than its strongest point. Ruth Fong,
Mandela Patrick, Andrea Vedaldi 2019, arXiv 1910.08485. At 224 px the lattice has a point every 7 px
and sigma is 21 px; other sizes are scaled.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

STEP, SIGMA, SIDE = 7, 21, 224
SHARPNESS = 20


@dataclass(frozen=True)
class Lattice:
    """The coarse grid that masks of one size are made from.

    - `size`: of the masks. - `step`: pixels from one point to the next. - `sigma`: of the kernel,
    in pixels. - `shape`: points down and across.
    """

    size: tuple[int, int]

    @property
    def step(self) -> int:
        """7 pixels at 224."""
        return max(1, round(STEP * min(self.size) / SIDE))

    @property
    def sigma(self) -> float:
        """21 pixels at 224."""
        return max(1.0, SIGMA * min(self.size) / SIDE)

    @property
    def shape(self) -> tuple[int, int]:
        """So many that they cover the mask."""
        return math.ceil(self.size[0] / self.step), math.ceil(self.size[1] / self.step)


class SmoothMasks:
    """Masks of one size from lattices, as published."""

    def __init__(self, size: tuple[int, int]):
        self.lattice = Lattice(size)
        self._step = self.lattice.step
        self._margin = math.ceil(self.lattice.sigma / self._step)  # lattice points around
        self._radius = 1 + self._margin
        self._weights = self._kernel()

    def _kernel(self) -> Float[Tensor, "neighbours places"]:
        """k from each neighbour to each place of a lattice cell."""
        reach = torch.arange(-self._radius, self._radius + 1, dtype=torch.float64) * self._step
        inside = torch.arange(self._step, dtype=torch.float64)
        apart = (reach[:, None] - (inside - inside.mean())) ** 2  # along one axis
        distance = (apart[:, None, :, None] + apart[None, :, None, :]).sqrt()
        kernel = torch.exp(-2 * (distance / self.lattice.sigma - 0.5).clamp(min=0) ** 2)
        return kernel.flatten(2).flatten(0, 1)

    def of(
        self, lattices: Float[Tensor, "masks rows columns"]
    ) -> tuple[Float[Tensor, "masks height width"], Float[Tensor, "masks values"]]:
        """The masks, and the values whose mean is the area: with the margin around."""
        radius, margin, step = self._radius, self._margin, self._step
        padded = F.pad(lattices[:, None], [radius + margin] * 4, mode="replicate")
        neighbours = F.unfold(padded, 2 * radius + 1)  # [masks, neighbours, cells]
        self._weights = self._weights.to(lattices)
        values = _SmoothMaxima.apply(neighbours, self._weights)
        rows, columns = ((points + 2 * margin) * step for points in self.lattice.shape)
        canvas = F.fold(values, (rows, columns), step, stride=step)[:, 0]
        start, (height, width) = margin * step, self.lattice.size
        inner = canvas[:, start : start + height, start : start + width]
        return inner, canvas.flatten(1)


class _SmoothMaxima(torch.autograd.Function):
    """The smooth maximum of the weighted neighbours, at every place of a cell.

    Values lie in [0, 1], so that no exponential is too large. What has the size of the neighbours
    is not kept for the backward but computed again: quicker than to read it from memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        neighbours: Float[Tensor, "masks neighbours cells"],
        weights: Float[Tensor, "neighbours places"],
    ) -> Float[Tensor, "masks places cells"]:
        maxima = []
        for weight in weights.T[..., None]:
            values = neighbours * weight
            powers = (SHARPNESS * values).exp_()
            total = powers.sum(1)
            maxima.append(values.mul_(powers).sum(1).div_(total))
        result = torch.stack(maxima, 1)
        ctx.save_for_backward(neighbours, weights, result)
        return result

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        """d max / d w = p (1 + 20 (w - max)),   p = softmax(20 w)."""
        neighbours, weights, result = ctx.saved_tensors
        places = zip(weights.T[..., None], result.unbind(1), cotangents[0].unbind(1), strict=True)
        gradient = torch.zeros_like(neighbours)
        for weight, maximum, cotangent in places:
            sharp = SHARPNESS * neighbours * weight
            powers = sharp.exp()
            share = (cotangent / powers.sum(1))[:, None]
            slope = sharp.sub_(SHARPNESS * maximum[:, None] - 1).mul_(powers).mul_(share)
            gradient.addcmul_(slope, weight)
        return gradient, None


def area_loss(
    values: Float[Tensor, "masks values"], areas: Float[Tensor, " masks"]
) -> Float[Tensor, " masks"]:
    """mean (sort M - r_a)^2, where r_a is zero for a share 1 - a of the values, then one.

    Values that are equal but for rounding are sorted by their place.
    """
    count = values.shape[1]
    order = (values.detach() * 1e5).round().argsort(dim=1, stable=True)
    zeros = (count * (1 - areas)).floor()
    wanted = torch.arange(count, device=values.device) >= zeros[:, None]
    return ((values.gather(1, order) - wanted.to(values)) ** 2).mean(1)


def hardened(
    masks: Float[Tensor, "masks height width"], area: float
) -> Float[Tensor, "masks height width"]:
    """One for the share `area` of the pixels with the largest values, zero for the others."""
    flat = masks.flatten(1)
    best = flat.topk(max(1, round(area * flat.shape[1])), dim=1).indices
    return torch.zeros_like(flat).scatter(1, best, 1.0).view_as(masks)
