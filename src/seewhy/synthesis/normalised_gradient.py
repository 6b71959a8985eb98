"""Steps along the gradient, of the same length whatever its scale, for projected gradient ascent.

A step of Adam scales each pixel on its own; projected onto a ball it would not stop at the optimum.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor


class NormalisedGradient:
    """Steps whose root mean square is `rate`, for rows that are independent of one another."""

    def __init__(self, parameters: Sequence[Tensor], rate: float):
        self.rate = rate

    def restart(self, rows: Int[Tensor, " rows"]) -> None:
        """Nothing is remembered from step to step."""

    @torch.no_grad()
    def step(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        rows: Int[Tensor, " rows"],
    ) -> None:
        """Move the rows against their gradient, in place."""
        for parameter, gradient in zip(parameters, gradients, strict=True):
            axes = tuple(range(1, gradient.ndim))
            size = gradient.pow(2).mean(axes, keepdim=True).sqrt()
            parameter[rows] -= self.rate * gradient / size.clamp_min(1e-30)
