"""The operations between the pixels and the first linear operation, linearised.

Examples are normalisation inside the network, padding, resizing, space-to-depth and added
coordinates. J is the Jacobian of the linear operation's input with respect to the pixels. Relevance
R of that input is distributed over the pixels in proportion to J, row by row,

    R(pixel) = J^T (R / J 1)

which sums to R, even if pixels are zero. Rows of J that sum to zero belong to constants.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

Back = Callable[[Tensor, bool], Tensor]


class Prefix:
    """The linearised path from the pixels to the input of one operation; `back(v)` is J^T v.

    If the second argument of `back` is true, its result is differentiable with respect to v.
    """

    def __init__(self, back: Back, pixels: Tensor, read: Tensor):
        self._back, self._pixels, self._read = back, pixels, read

    def forward(self, change: Tensor) -> Tensor:
        """Return J times a change of the pixels, as the derivative of J^T v with respect to v."""
        with torch.enable_grad():
            v = torch.zeros_like(self._read, requires_grad=True)
            transposed = self._back(v, True)
            if not transposed.requires_grad:
                return torch.zeros_like(self._read)
            return torch.autograd.grad(transposed, v, change.to(transposed))[0]

    def on_pixels(self, relevance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the relevance of the pixels, and that of constants in the shape of the input."""
        constant = self._row_sums.abs() <= self._negligible
        share = torch.where(constant, 0, relevance / self._row_sums)
        return self._back(share, False), torch.where(constant, relevance, 0)

    def box(self, low: float, high: float) -> tuple[Tensor, Tensor]:
        """Return the smallest and largest possible inputs for pixels between `low` and `high`."""
        ends = [self._read + self.forward(end - self._pixels) for end in (low, high)]
        return torch.minimum(*ends), torch.maximum(*ends)

    @cached_property
    def _row_sums(self) -> Tensor:
        return self.forward(torch.ones_like(self._pixels))

    @cached_property
    def _negligible(self) -> Tensor:
        return self._row_sums.abs().amax() * 1e-5
