"""Functions that treat each cell separately: elementwise, or across the channels of the cell."""

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.engine.incremental.local import (
    Local,
    NotLocal,
    apply,
    covering,
    exchanged,
    found,
    writes,
)
from seewhy.engine.incremental.tiles import Spans, cut

# Names in any namespace of torch; in-place variants, which end in an underscore, are added below.
_NAMES = (
    *("relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "gelu", "silu", "mish", "elu"),
    *("selu", "celu", "leaky_relu", "sigmoid", "tanh", "softplus", "softsign", "logsigmoid"),
    *("threshold", "hardshrink", "softshrink", "tanhshrink", "clamp", "clip", "clamp_min"),
    *("clamp_max", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt", "abs", "absolute"),
    *("neg", "negative", "square", "pow", "erf", "sin", "cos", "atan", "sign", "reciprocal"),
    *("round", "floor", "ceil", "nan_to_num", "positive", "float", "half", "double", "bfloat16"),
    *("to", "type_as", "clone", "detach", "contiguous", "add", "sub", "subtract", "rsub", "mul"),
    *("multiply", "div", "divide", "true_divide", "maximum", "minimum", "lerp", "where"),
    *("addcmul", "addcdiv", "masked_fill", "gt", "ge", "lt", "le", "eq", "ne", "logical_not"),
    *("logical_and", "logical_or", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__"),
    *("__isub__", "__mul__", "__rmul__", "__imul__", "__truediv__", "__rtruediv__"),
    *("__itruediv__", "__rdiv__", "__idiv__", "__neg__", "__pos__", "__abs__", "__pow__"),
    *("__rpow__", "__ipow__", "__gt__", "__ge__", "__lt__", "__le__", "__eq__", "__ne__"),
)
_IN_PLACE_OPERATORS = {name for name in _NAMES if name.startswith("__i")}
_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout)


def elementwise(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Apply an elementwise function of local tensors, numbers and constants of any broadcast shape.

    If it works in place, the first argument takes over the result; its tiles may become larger.
    """
    xs = list(found((args, kwargs)))
    x, in_place = xs[0], _works_in_place(func, args, kwargs)
    if not all(x.alike(other) for other in xs) or (in_place and args[0] is not x):
        return NotImplemented
    spans = covering(xs)
    if len(xs) > 1 and not x.run.pays(func, spans):
        return NotImplemented
    try:
        on_tiles = _on_tiles((args, kwargs), x, spans)
    except _Differs:
        return NotImplemented
    if in_place and x.has_relatives():
        raise NotLocal(f"{func} writes into a tensor that other tensors share")
    on_base = exchanged((args, kwargs), lambda local: local.base)
    base = x.run.once(_apply_to_copy if in_place else apply, func, *on_base)
    if not isinstance(base, Tensor):  # `where` with only a condition returns indices
        return NotImplemented
    tiles = apply(func, *on_tiles)
    return x.write(base, tiles, spans) if in_place else x.made(base, tiles, spans=spans)


class _Differs(Exception):
    """Raised if a plain tensor differs between copies, or does not broadcast over the map."""


def _on_tiles(value: Any, x: Local, spans: Spans) -> Any:
    """Return the nested arguments restricted to the spans."""
    if isinstance(value, Local):
        return value.on(spans)
    if isinstance(value, Tensor):
        return _constant_on(value, x, spans)
    if isinstance(value, dict):
        return {key: _on_tiles(item, x, spans) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_on_tiles(item, x, spans) for item in value)
    return value


def _constant_on(constant: Tensor, x: Local, spans: Spans) -> Tensor:
    """Return what broadcasts to the tiles as the constant broadcasts to whole maps."""
    shape = (1,) * (x.ndim - constant.ndim) + tuple(constant.shape)
    cells = shape[x.axis : x.axis + 2]
    if len(shape) > x.ndim or shape[0] != 1:
        raise _Differs
    if cells == (1, 1):
        return constant
    if cells != tuple(x.base.shape[x.axis : x.axis + 2]):
        raise _Differs
    return cut(constant.reshape(shape), x.axis, spans)


def _apply_to_copy(func: Callable, args: tuple, kwargs: dict) -> Any:
    return func(args[0].clone(), *args[1:], **kwargs)


def _works_in_place(func: Callable, args: tuple, kwargs: dict) -> bool:
    name = getattr(func, "__name__", "")
    if writes(func) or name in _IN_PLACE_OPERATORS:
        return True
    at = _position_of_inplace(func)
    return bool(kwargs.get("inplace") or (at is not None and len(args) > at and args[at]))


@cache
def _position_of_inplace(func: Callable) -> int | None:
    try:
        names = list(signature(func).parameters)
    except (TypeError, ValueError):
        return None
    return names.index("inplace") if "inplace" in names else None


def dropout(
    func: Callable, x: Any, p: float = 0.5, training: bool | None = None, *rest: Any, **kwargs: Any
) -> Any:
    """Return `x` in evaluation mode."""
    if training is None:
        training = signature(func).parameters["training"].default
    return NotImplemented if training or not isinstance(x, Local) else x


def batch_norm(
    func: Callable, x: Any, running_mean: Tensor | None, running_var: Tensor | None,
    weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
    *rest: Any, **kwargs: Any,
) -> Any:  # fmt: skip
    """Normalise with running statistics, which are constants."""
    if training or running_mean is None:
        return NotImplemented
    return channels_first(
        func, x, running_mean, running_var, weight, bias, training, *rest, **kwargs
    )


def channels_first(func: Callable, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply a function of the channels of each cell, with channels as the second axis."""
    if not isinstance(x, Local) or x.axis != 2:
        return NotImplemented
    return _of_channels(func, x, args, kwargs)


def channels_last(func: Callable, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply a function of the channels of each cell, with channels as the last axis."""
    if not isinstance(x, Local) or x.axis != x.ndim - 3:
        return NotImplemented
    return _of_channels(func, x, args, kwargs)


def layer_norm(func: Callable, x: Any, normalized_shape: Any, *args: Any, **kwargs: Any) -> Any:
    """Normalise over the channels, if they are the last axis and the only normalised one."""
    shape = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    if len(shape) != 1:
        return NotImplemented
    return channels_last(func, x, shape, *args, **kwargs)


def _of_channels(func: Callable, x: Local, args: tuple, kwargs: dict) -> Any:
    if any(found((args, kwargs))):
        return NotImplemented
    base = x.run.once(apply, func, (x.base, *args), kwargs)
    return x.made(base, func(x.tiles, *args, **kwargs))


def _everywhere(names: tuple[str, ...]) -> list[Callable]:
    """Return the functions of these names and their in-place variants, from all namespaces."""
    both = [*names, *(f"{name}_" for name in names if not name.endswith("_"))]
    return [getattr(namespace, name) for namespace in (torch, Tensor, F) for name in both
            if hasattr(namespace, name)]  # fmt: skip


ELEMENTWISE: dict[Callable, Callable] = {
    **dict.fromkeys(_everywhere(_NAMES), elementwise),
    **dict.fromkeys(_DROPOUTS, dropout),
    F.batch_norm: batch_norm,
    **dict.fromkeys([F.local_response_norm, F.prelu], channels_first),
    F.linear: channels_last,
    F.layer_norm: layer_norm,
}
