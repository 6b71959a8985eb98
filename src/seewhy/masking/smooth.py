"""Smooth masks from a coarse lattice, by maximum convolution.

    M(u) = smooth max over lattice points v of k(|u - v| / sigma) m(v)
    k(z) = exp(-2 max(0, z - 1/2)^2),    smooth max of w = sum(w softmax(20 w))

so that a mask has no detail finer than sigma, and no weaker than its strongest point. Ruth Fong,
Mandela Patrick, Andrea Vedaldi 2019, arXiv 1910.08485. At 224 px the lattice has a point every 7 px
and sigma is 21 px; other sizes are scaled.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

STEP, SIGMA, SIDE = 7, 21, 224
SHARPNESS = 20


class SmoothMasks:
    """Masks of one size from lattices.

    - `size`: height and width. - `step`: pixels from one lattice point to the next. - `lattice`:
    its points down and across. - `fine`: the maximum is taken for every pixel, as published; else
    for the lattice points, and interpolated, which is `step`^2 times cheaper.
    """

    def __init__(self, size: tuple[int, int], fine: bool):
        scale = min(size) / SIDE
        self.size, self.fine = size, fine
        self.step = max(1, round(STEP * scale))
        self.sigma = max(1.0, SIGMA * scale)
        self.lattice = math.ceil(size[0] / self.step), math.ceil(size[1] / self.step)
        self._radius = 1 + math.ceil(self.sigma / self.step)
        self._margin = math.ceil(self.sigma / self.step) if fine else 0  # lattice points around
        self._weights = self._kernel(self.step if fine else 1)

    def _kernel(self, places: int) -> Float[Tensor, "neighbours places"]:
        """k from each neighbour to each place of a lattice cell."""
        reach = torch.arange(-self._radius, self._radius + 1, dtype=torch.float64) * self.step
        inside = torch.arange(places, dtype=torch.float64)
        inside = inside - inside.mean() if places > 1 else inside
        apart = (reach[:, None] - inside) ** 2  # along one axis: [neighbours, places]
        distance = (apart[:, None, :, None] + apart[None, :, None, :]).sqrt()
        kernel = torch.exp(-2 * (distance / self.sigma - 0.5).clamp(min=0) ** 2)
        return kernel.flatten(2).flatten(0, 1)

    def of(
        self, lattices: Float[Tensor, "masks rows columns"]
    ) -> tuple[Float[Tensor, "masks height width"], Float[Tensor, "masks values"]]:
        """The masks, and the values whose mean is the area: with the margin around, if `fine`."""
        radius, margin = self._radius, self._margin
        padded = F.pad(lattices[:, None], [radius + margin] * 4, mode="replicate")
        neighbours = F.unfold(padded, 2 * radius + 1)  # [masks, neighbours, cells]
        weights = self._weights.to(lattices)
        values = torch.stack(
            [_smooth_max(neighbours * weights[:, i, None]) for i in range(weights.shape[1])], 1
        )
        rows, columns = (n + 2 * margin for n in self.lattice)
        canvas = F.fold(
            values, (rows * self._places, columns * self._places), self._places, stride=self._places
        )[:, 0]
        if not self.fine:
            size = [n * self.step for n in self.lattice]
            whole = F.interpolate(canvas[:, None], size, mode="bilinear")[:, 0]
            return whole[:, : self.size[0], : self.size[1]], canvas.flatten(1)
        start = margin * self.step
        inner = canvas[:, start : start + self.size[0], start : start + self.size[1]]
        return inner, canvas.flatten(1)

    @property
    def _places(self) -> int:
        return self.step if self.fine else 1


def _smooth_max(values: Float[Tensor, "masks neighbours cells"]) -> Float[Tensor, "masks cells"]:
    return (values * (SHARPNESS * values).softmax(1)).sum(1)


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
