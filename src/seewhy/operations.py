"""The torch functions that a tape can watch, by kind, and what it records of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Compute = Callable[..., Tensor]


@dataclass(frozen=True)
class Operation:
    """One recorded call: its inputs, its output, and the local graph between them."""

    kind: str
    inputs: tuple[Tensor, ...]
    output: Tensor

    def gradient(self, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Autograd's own pull-back of `cotangent`, one entry per input (None: not wanted)."""
        wanted = [t for t in self.inputs if t.requires_grad]
        pulled = iter(torch.autograd.grad(self.output, wanted, cotangent, retain_graph=True))
        return tuple(next(pulled) if t.requires_grad else None for t in self.inputs)


@dataclass(frozen=True)
class Call:
    """A watched call taken apart: `compute(*tensors)` is its result, out of place."""

    kind: str
    compute: Compute
    tensors: tuple[Tensor, ...]
    in_place: bool


@dataclass(frozen=True)
class Function:
    """How to take a call of one torch function apart.

    `pure` has the torch function's own parameters and works out of place; its first
    `operands` parameters are the tensors that are differentiated. `applies` says whether a call
    with these arguments is of this kind at all.
    """

    kind: str
    pure: Compute
    in_place: bool = False
    operands: int = 1
    applies: Callable[[Mapping[str, Any]], bool] = lambda arguments: True

    def bind(self, args: tuple, kwargs: Mapping[str, Any]) -> Call | None:
        """Split a call into tensors and a function of just those; None where it does not apply."""
        arguments = signature(self.pure).bind(*args, **kwargs).arguments
        if not self.applies(arguments):
            return None
        in_place = self.in_place or bool(arguments.get("inplace", False))
        names = list(arguments)[: self.operands]
        rest = {name: value for name, value in arguments.items() if name not in names}
        tensors = tuple(arguments[name] for name in names)
        return Call(self.kind, lambda *t: self.pure(*t, **rest), tensors, in_place)


def _relu(input: Tensor, inplace: bool = False) -> Tensor:
    return torch.relu(input)


def _relu6(input: Tensor, inplace: bool = False) -> Tensor:
    return F.hardtanh(input, 0.0, 6.0)


def _hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    return F.hardtanh(input, min_val, max_val)


def _clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    return torch.clamp(input, min, max)


def _clamp_min(input: Tensor, min: Any) -> Tensor:
    return torch.clamp_min(input, min)


def _from_zero(name: str) -> Callable[[Mapping[str, Any]], bool]:
    """A clamp is a rectifier if it cuts at zero."""
    return lambda arguments: isinstance(arguments.get(name), int | float) and arguments[name] == 0


# A rectifier passes positive values: relu, relu6, and every clamp with the floor zero.
_RECTIFIERS = {
    Function("relu", _relu): [F.relu, torch.relu, Tensor.relu],
    Function("relu", _relu, in_place=True): [torch.relu_, Tensor.relu_],
    Function("relu", _relu6): [F.relu6],
    Function("relu", _hardtanh, applies=_from_zero("min_val")): [F.hardtanh],
    Function("relu", _hardtanh, in_place=True, applies=_from_zero("min_val")): [F.hardtanh_],
    Function("relu", _clamp, applies=_from_zero("min")): [torch.clamp, Tensor.clamp],
    Function("relu", _clamp, in_place=True, applies=_from_zero("min")): [Tensor.clamp_],
    Function("relu", _clamp_min, applies=_from_zero("min")): [torch.clamp_min, Tensor.clamp_min],
    Function("relu", _clamp_min, in_place=True, applies=_from_zero("min")): [Tensor.clamp_min_],
}

FUNCTIONS: dict[Callable, Function] = {
    torch_function: function
    for function, torch_functions in _RECTIFIERS.items()
    for torch_function in torch_functions
}
