"""The `aten` operations, which networks from torch.export call in place of torch functions."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.autodiff.operations.base import Function

# Their parameters have the same order as those of the torch function or method.
_NAMES = (
    "abs", "add", "amax", "amin", "bmm", "cat", "div", "einsum", "exp", "hardswish", "leaky_relu",
    "log", "log_softmax", "matmul", "max", "max_pool1d", "max_pool2d",
    "max_pool3d", "maximum", "min", "minimum", "mish", "mul", "pow", "prelu", "reciprocal",
    "rms_norm", "rsqrt", "sigmoid", "silu", "softplus", "sqrt", "square", "sub", "tanh",
)  # fmt: skip


def exported(functions: Mapping[Callable, Function]) -> dict[Callable, Function]:
    """Map the aten operations equivalent to `functions`, also in place, to their `Function`."""
    operations: dict[Callable, Function] = {}
    for name in _NAMES:
        equivalent = _equivalent(functions, name)
        for ending, function in (("", equivalent), ("_", replace(equivalent, in_place=True))):
            packet = getattr(torch.ops.aten, name + ending, None)
            overloads = packet.overloads() if packet else []
            operations |= {getattr(packet, overload): function for overload in overloads}
    return operations


def _equivalent(functions: Mapping[Callable, Function], name: str) -> Function:
    namesakes = [getattr(owner, name) for owner in (Tensor, torch, F) if hasattr(owner, name)]
    return next(functions[function] for function in namesakes if function in functions)
