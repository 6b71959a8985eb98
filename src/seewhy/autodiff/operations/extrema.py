"""Maxima and minima, of two tensors or over axes; max pooling is in `pointwise`.

"maximum", "minimum"   if all operands depend on the picture; with a constant it is "elementwise"
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seewhy.autodiff.operations.base import Arguments, Call, Compute, Function, always, depends

_BOTH = ("input", "other")


def _of_two(function: Callable, kind: str) -> Function:
    def pure(input: Tensor, other: Tensor) -> Tensor:
        return function(input, other)

    def kind_of(arguments: Arguments) -> str:
        return kind if all(depends(arguments[name]) for name in _BOTH) else "elementwise"

    return Function(pure, kind_of, _BOTH)


def _over_axes(function: Callable) -> Compute:
    def pure(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
        return function(input, dim, keepdim)

    return pure


def _over_axis(function: Callable) -> Compute:
    def pure(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return function(input) if dim is None else function(input, dim, keepdim).values

    return pure


@dataclass(frozen=True)
class Extremum(Function):
    """`torch.max` or `torch.min`: of two tensors, of all values, or over an axis with indices."""

    of_two: Function | None = None
    function: Callable = torch.max
    pair: Callable = torch.return_types.max

    def bind(self, args: tuple, kwargs: Arguments) -> Call | None:
        """Parse a call in any of its three forms."""
        if any(isinstance(value, Tensor) for value in (*args[1:], kwargs.get("other"))):
            return self.of_two.bind(args, kwargs) if self.of_two else None
        call = super().bind(args, kwargs)
        if call is None or call.arguments.get("dim") is None:
            return call
        with torch.no_grad():
            indices = self.function(call.tensors[0].detach(), **call.arguments).indices
        return replace(call, whole=lambda values: self.pair((values, indices)))


_MAXIMUM = _of_two(torch.maximum, "maximum")
_MINIMUM = _of_two(torch.minimum, "minimum")
_FMAX, _FMIN = _of_two(torch.fmax, "maximum"), _of_two(torch.fmin, "minimum")
_MAX = Extremum(_over_axis(torch.max), always("maximum"), of_two=_MAXIMUM)
_MIN = Extremum(
    _over_axis(torch.min),
    always("minimum"),
    of_two=_MINIMUM,
    function=torch.min,
    pair=torch.return_types.min,
)
_AMAX = Function(_over_axes(torch.amax), always("maximum"))
_AMIN = Function(_over_axes(torch.amin), always("minimum"))

EXTREMUM_FUNCTIONS: dict[Callable, Function] = {
    getattr(owner, name): function
    for owner in (torch, Tensor)
    for name, function in {
        "maximum": _MAXIMUM,
        "minimum": _MINIMUM,
        "fmax": _FMAX,
        "fmin": _FMIN,
        "max": _MAX,
        "min": _MIN,
        "amax": _AMAX,
        "amin": _AMIN,
    }.items()
}
