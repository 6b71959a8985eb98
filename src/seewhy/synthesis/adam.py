"""Adam for rows that are independent of one another and start at different times."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Adam (Kingma, Ba 2014, arXiv 1412.6980) over the rows of some parameters.

    The state of a row is that of an optimiser of its own.
    """

    def __init__(self, parameters: Sequence[Tensor], rate: float):
        self.rate = rate
        self._mean = [torch.zeros_like(p) for p in parameters]
        self._square = [torch.zeros_like(p) for p in parameters]
        self._age = torch.zeros(len(parameters[0]), dtype=torch.long)

    def restart(self, rows: Int[Tensor, " rows"]) -> None:
        """Forget the gradients of these rows, as when their scale changes."""
        for state in (*self._mean, *self._square):
            state[rows] = 0
        self._age[rows] = 0

    def step(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        rows: Int[Tensor, " rows"],
    ) -> None:
        """Move the rows against their gradient, in place."""
        self._age[rows] += 1
        every = len(rows) == len(self._age) and bool((rows.diff() == 1).all())
        if every and bool((self._age == self._age[0]).all()):
            self._step_all(parameters, gradients)
            return
        for parameter, gradient, mean, square in zip(
            parameters, gradients, self._mean, self._square, strict=True
        ):
            t = self._age[rows].to(gradient).view(-1, *[1] * (gradient.ndim - 1))
            m = BETAS[0] * mean[rows] + (1 - BETAS[0]) * gradient
            v = BETAS[1] * square[rows] + (1 - BETAS[1]) * gradient**2
            mean[rows], square[rows] = m, v
            m, v = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
            parameter[rows] -= self.rate * m / (v.sqrt() + EPSILON)

    def _step_all(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Make the same step where all rows take part and are equally old, without copies."""
        t = int(self._age[0])
        for parameter, gradient, mean, square in zip(
            parameters, gradients, self._mean, self._square, strict=True
        ):
            mean.lerp_(gradient, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            scale = (square / (1 - BETAS[1] ** t)).sqrt_().add_(EPSILON)
            parameter.addcdiv_(mean, scale, value=-self.rate / (1 - BETAS[0] ** t))
