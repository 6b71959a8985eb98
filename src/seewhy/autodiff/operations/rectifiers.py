"""Rectifiers: "relu", and "clipped relu", which also has an upper bound.

The same functions with a lower bound other than zero are not rectifiers but "elementwise".
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.autodiff.operations.base import Arguments, Compute, Function, always, depends

aten = torch.ops.aten


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


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0


def _clamp_kind(arguments: Arguments) -> str | None:
    if depends(arguments.get("min")) or depends(arguments.get("max")):
        return None
    if not _is_zero(arguments.get("min")):
        return "elementwise"
    return "relu" if arguments.get("max") is None else "clipped relu"


def _relu_backward(cotangent: Tensor, y: Tensor) -> Tensor:
    return aten.threshold_backward(cotangent, y, 0)


def _rectifiers(
    pure: Compute,
    out_of_place: list[Callable],
    in_place: list[Callable],
    kind: Callable[[Arguments], str | None],
) -> dict[Callable, Function]:
    backward = _relu_backward if pure is _relu else None
    return {
        **dict.fromkeys(out_of_place, Function(pure, kind, backward=backward)),
        **dict.fromkeys(in_place, Function(pure, kind, in_place=True, backward=backward)),
    }


# Networks exported by torch.export call the `aten` operations.
RECTIFIER_FUNCTIONS: dict[Callable, Function] = {
    **_rectifiers(
        _relu,
        [F.relu, torch.relu, Tensor.relu, aten.relu.default],
        [torch.relu_, Tensor.relu_, aten.relu_.default],
        always("relu"),
    ),
    **_rectifiers(
        _relu6, [F.relu6, aten.relu6.default], [aten.relu6_.default], always("clipped relu")
    ),
    **_rectifiers(
        _hardtanh,
        [F.hardtanh, aten.hardtanh.default],
        [F.hardtanh_, aten.hardtanh_.default],
        lambda arguments: "clipped relu" if _is_zero(arguments.get("min_val")) else "elementwise",
    ),
    **_rectifiers(
        _clamp,
        [torch.clamp, torch.clip, Tensor.clamp, Tensor.clip, aten.clamp.default],
        [torch.clamp_, torch.clip_, Tensor.clamp_, Tensor.clip_, aten.clamp_.default],
        _clamp_kind,
    ),
    **_rectifiers(
        _clamp_min,
        [torch.clamp_min, Tensor.clamp_min, aten.clamp_min.default],
        [torch.clamp_min_, Tensor.clamp_min_, aten.clamp_min_.default],
        _clamp_kind,
    ),
}
