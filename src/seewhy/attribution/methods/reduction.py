"""Reduce the channels of [batch, channels, h, w] to one value per position."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from seewhy.errors import Unknown

Reduction = Literal["max", "norm", "sum"]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda values: values.abs().amax(1),
    "norm": lambda values: values.norm(dim=1),
    "sum": lambda values: values.sum(1),
}


def reduce(values: Tensor, reduction: str) -> Tensor:
    """Return the largest absolute value over the channels, their Euclidean norm, or their sum."""
    return _REDUCTIONS[check_reduction(reduction)](values)


def check_reduction(reduction: str) -> str:
    """Return the name of the reduction if it exists; raises Unknown otherwise."""
    if reduction not in _REDUCTIONS:
        raise Unknown("reduction", reduction, _REDUCTIONS, hint="max, norm or sum")
    return reduction
