"""What lies between the picture and the first linear operation, linearised.

Normalisation inside the network, padding, resizing, space-to-depth, added coordinates: J is the
Jacobian of what the operation reads with respect to the pixels. Relevance R of what it reads is
shared out over the pixels in proportion to J, row by row,

    R(pixel) = J^T (R / J 1)

which adds up to R, also where pixels are zero. Rows of J that are zero belong to constants.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

Back = Callable[[Tensor, bool], Tensor]


class Prefix:
    """The linearised way from the pixels to one operation; `back(v)` is J^T v.

    `back` is asked for a graph of its own where its second argument is true.
    """

    def __init__(self, back: Back, pixels: Tensor, read: Tensor):
        self._back, self._pixels, self._read = back, pixels, read

    def forward(self, change: Tensor) -> Tensor:
        """J times a change of the pixels, as the derivative of J^T v by v."""
        with torch.enable_grad():
            v = torch.zeros_like(self._read, requires_grad=True)
            transposed = self._back(v, True)
            if not transposed.requires_grad:
                return torch.zeros_like(self._read)
            return torch.autograd.grad(transposed, v, change.to(transposed))[0]

    def on_pixels(self, relevance: Tensor) -> tuple[Tensor, Tensor]:
        """Relevance of the pixels, and what belongs to constants, in the shape of what is read."""
        constant = self._row_sums.abs() <= self._negligible
        share = torch.where(constant, 0, relevance / self._row_sums)
        return self._back(share, False), torch.where(constant, relevance, 0)

    def box(self, low: float, high: float) -> tuple[Tensor, Tensor]:
        """The least and the greatest that can be read of pixels between `low` and `high`."""
        ends = [self._read + self.forward(end - self._pixels) for end in (low, high)]
        return torch.minimum(*ends), torch.maximum(*ends)

    @cached_property
    def _row_sums(self) -> Tensor:
        return self.forward(torch.ones_like(self._pixels))

    @cached_property
    def _negligible(self) -> Tensor:
        return self._row_sums.abs().amax() * 1e-5
