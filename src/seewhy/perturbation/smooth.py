"""Smooth masks from a coarse lattice, by maximum convolution.

    M(u) = smooth max over lattice points v of k(|u - v| / sigma) m(v)
    k(z) = exp(-2 max(0, z - 1/2)^2),    smooth max of w = sum(w softmax(20 w))

so that a mask has no detail finer than sigma, and its strongest points are not weakened. Ruth Fong,
Mandela Patrick, Andrea Vedaldi 2019, arXiv 1910.08485. At 224 px the lattice has a point every 7 px
and sigma is 21 px; both scale with the size.
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
    """The coarse grid from which masks of one size are made.

    - `size`: of the masks. - `step`: the distance of neighbouring points, in pixels.
    - `sigma`: of the kernel, in pixels. - `shape`: the number of points down and across.
    """

    size: tuple[int, int]

    @property
    def step(self) -> int:
        """The distance of neighbouring points: 7 pixels at size 224."""
        return max(1, round(STEP * min(self.size) / SIDE))

    @property
    def sigma(self) -> float:
        """The width of the kernel: 21 pixels at size 224."""
        return max(1.0, SIGMA * min(self.size) / SIDE)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of points down and across that cover the mask."""
        return math.ceil(self.size[0] / self.step), math.ceil(self.size[1] / self.step)


class SmoothMasks:
    """Makes masks of one size from lattices, as published."""

    def __init__(self, size: tuple[int, int]):
        self.lattice = Lattice(size)
        self._step = self.lattice.step
        self._margin = math.ceil(self.lattice.sigma / self._step)  # lattice points around the mask
        self._radius = 1 + self._margin
        self._weights = self._kernel()

    def _kernel(self) -> Float[Tensor, "neighbours offsets"]:
        """Return k between each neighbouring lattice point and each pixel offset in a cell."""
        reach = torch.arange(-self._radius, self._radius + 1, dtype=torch.float64) * self._step
        inside = torch.arange(self._step, dtype=torch.float64)
        squared = (reach[:, None] - (inside - inside.mean())) ** 2  # along one axis
        distance = (squared[:, None, :, None] + squared[None, :, None, :]).sqrt()
        kernel = torch.exp(-2 * (distance / self.lattice.sigma - 0.5).clamp(min=0) ** 2)
        return kernel.flatten(2).flatten(0, 1)

    def of(
        self, lattices: Float[Tensor, "masks rows columns"]
    ) -> tuple[Float[Tensor, "masks height width"], Float[Tensor, "masks values"]]:
        """Return the masks, and the values with the margin, whose mean is the area."""
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
    """The smooth maximum of the weighted neighbours, at every pixel offset in a cell.

    Values lie in [0, 1], so that the exponentials cannot overflow. Intermediate results as large as
    the neighbours are recomputed in the backward pass: faster than reading them from memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        neighbours: Float[Tensor, "masks neighbours cells"],
        weights: Float[Tensor, "neighbours offsets"],
    ) -> Float[Tensor, "masks offsets cells"]:
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
        """Return the cotangents: d max / d w = p (1 + 20 (w - max)),   p = softmax(20 w)."""
        neighbours, weights, result = ctx.saved_tensors
        offsets = zip(weights.T[..., None], result.unbind(1), cotangents[0].unbind(1), strict=True)
        gradient = torch.zeros_like(neighbours)
        for weight, maximum, cotangent in offsets:
            sharp = SHARPNESS * neighbours * weight
            powers = sharp.exp()
            share = (cotangent / powers.sum(1))[:, None]
            slope = sharp.sub_(SHARPNESS * maximum[:, None] - 1).mul_(powers).mul_(share)
            gradient.addcmul_(slope, weight)
        return gradient, None


def area_loss(
    values: Float[Tensor, "masks values"], areas: Float[Tensor, " masks"]
) -> Float[Tensor, " masks"]:
    """Return mean (sort M - r_a)^2, where r_a is zero for a share 1 - a of the values, then one.

    Values that are equal up to rounding keep their order.
    """
    count = values.shape[1]
    order = (values.detach() * 1e5).round().argsort(dim=1, stable=True)
    zeros = (count * (1 - areas)).floor()
    wanted = torch.arange(count, device=values.device) >= zeros[:, None]
    return ((values.gather(1, order) - wanted.to(values)) ** 2).mean(1)


def hardened(
    masks: Float[Tensor, "masks height width"], area: float
) -> Float[Tensor, "masks height width"]:
    """Return masks of one at the share `area` of pixels with the largest values, else zero."""
    flat = masks.flatten(1)
    best = flat.topk(max(1, round(area * flat.shape[1])), dim=1).indices
    return torch.zeros_like(flat).scatter(1, best, 1.0).view_as(masks)
