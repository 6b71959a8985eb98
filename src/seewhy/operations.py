"""The torch functions that a tape can watch, by kind, and what it records of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten

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
        # A network may differentiate inside its own forward, and that through this.
        second = torch.is_grad_enabled()
        pulled = iter(
            torch.autograd.grad(
                self.output, wanted, cotangent, retain_graph=True, create_graph=second
            )
        )
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


def _rectifiers(
    pure: Compute,
    out_of_place: list[Callable],
    in_place: list[Callable],
    applies: Callable[[Mapping[str, Any]], bool] = lambda arguments: True,
) -> dict[Callable, Function]:
    return {
        **dict.fromkeys(out_of_place, Function("relu", pure, applies=applies)),
        **dict.fromkeys(in_place, Function("relu", pure, in_place=True, applies=applies)),
    }


# A rectifier passes positive values: relu, relu6, and every clamp with the floor zero.
# Networks exported by torch.export call the `aten` operations.
FUNCTIONS: dict[Callable, Function] = {
    **_rectifiers(
        _relu,
        [F.relu, torch.relu, Tensor.relu, aten.relu.default],
        [torch.relu_, Tensor.relu_, aten.relu_.default],
    ),
    **_rectifiers(_relu6, [F.relu6, aten.relu6.default], [aten.relu6_.default]),
    **_rectifiers(
        _hardtanh,
        [F.hardtanh, aten.hardtanh.default],
        [F.hardtanh_, aten.hardtanh_.default],
        _from_zero("min_val"),
    ),
    **_rectifiers(
        _clamp,
        [torch.clamp, torch.clip, Tensor.clamp, Tensor.clip, aten.clamp.default],
        [torch.clamp_, torch.clip_, Tensor.clamp_, Tensor.clip_, aten.clamp_.default],
        _from_zero("min"),
    ),
    **_rectifiers(
        _clamp_min,
        [torch.clamp_min, Tensor.clamp_min, aten.clamp_min.default],
        [torch.clamp_min_, Tensor.clamp_min_, aten.clamp_min_.default],
        _from_zero("min"),
    ),
}
