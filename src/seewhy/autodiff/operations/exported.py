"""Networks from torch.export call `aten` operations: the same functions under other names."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.autodiff.operations.base import Function

# Their parameters come in the same order as those of the function or method.
_NAMES = (
    "abs", "add", "amax", "amin", "bmm", "cat", "div", "einsum", "exp", "hardswish", "leaky_relu",
    "log", "log_softmax", "matmul", "max", "max_pool1d", "max_pool2d",
    "max_pool3d", "maximum", "min", "minimum", "mish", "mul", "pow", "prelu", "reciprocal",
    "rms_norm", "rsqrt", "sigmoid", "silu", "softplus", "sqrt", "square", "sub", "tanh",
)  # fmt: skip


def exported(functions: Mapping[Callable, Function]) -> dict[Callable, Function]:
    """The aten operations that are what `functions` knows, also in place."""
    found: dict[Callable, Function] = {}
    for name in _NAMES:
        known = _known(functions, name)
        for ending, function in (("", known), ("_", replace(known, in_place=True))):
            packet = getattr(torch.ops.aten, name + ending, None)
            overloads = packet.overloads() if packet else []
            found |= {getattr(packet, overload): function for overload in overloads}
    return found


def _known(functions: Mapping[Callable, Function], name: str) -> Function:
    same = [getattr(owner, name) for owner in (Tensor, torch, F) if hasattr(owner, name)]
    return next(functions[function] for function in same if function in functions)
