"""Functions that add constants to an activation, write them into it, or write it into them.

The value of masked or padded places, a token beside others, the rest of a canvas that an activation
is written into: relevance that reaches them is not lost, it belongs to constants.

"affine"     a function with such a constant among its operands
"constant"   the canvas itself, once something that depends on the picture is written into it
"""

import cmath
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from seewhy.autodiff.operations.base import Call, Function, always, depends
from seewhy.autodiff.operations.unruled import name_of

# The positions and names of the operands that are terms, rather than factors, masks or indices.
_TERMS: dict[str, tuple[int | str, ...]] = {
    "add": (0, 1, "input", "other"),  # of complex numbers; others are a "sum" or "shift"
    "sub": (0, 1, "input", "other"),
    "rsub": (0, 1, "input", "other"),
    "where": (0, 1, 2, "input", "self", "other"),
    "masked_fill": (0, 2, "input", "value"),
    "masked_scatter": (0, 2, "input", "source"),
    "index_fill": (0, 3, "input", "value"),
    "index_copy": (0, 3, "input", "source"),
    "index_add": (0, 3, "input", "source"),
    "index_put": (0, 2, "input", "values"),
    "scatter": (0, 3, "input", "src", "value"),
    "scatter_add": (0, 3, "input", "src"),
    "setitem": (0, 2),
    "copy": (0, 1, "other"),
    "fill": (0, 1, "value"),
    "pad": (3, "value"),
    "constant_pad_nd": (2, "value"),
    "stack": (0, "tensors"),
    "hstack": (0, "tensors"),
    "vstack": (0, "tensors"),
    "dstack": (0, "tensors"),
    "column_stack": (0, "tensors"),
    "lerp": (0, 1, "input", "end"),
    "addmm": (0, "input"),
    "addmv": (0, "input"),
    "addr": (0, "input"),
    "addbmm": (0, "input"),
    "baddbmm": (0, "input"),
    "bilinear": (3, "bias"),
}


def _by_call(input: Tensor) -> Tensor:
    """Never called: each `Call` computes the function itself, with its other arguments."""
    raise AssertionError("an affine function is computed by its own call")


_AFFINE = Function(_by_call, always("affine"))
_CONSTANT = Function(_by_call, always("constant"), backward=lambda cotangent, y: None)  # type: ignore[arg-type, return-value]


def affine_call(func: Callable, args: tuple, kwargs: dict[str, Any], in_place: bool) -> Call | None:
    """Parse the call of a function that is affine in what depends on the picture.

    None if none of its terms is a constant other than zero: it is then linear. In place, the tensor
    that is written into comes first among the operands, whether or not it depends on the picture.
    """
    terms = _TERMS.get(name_of(func))
    if terms is None:
        return None
    named = [*enumerate(args), *kwargs.items()]
    if not any(_is_constant(value) for key, value in named if key in terms):
        return None
    operands = _depending((*args[in_place:], *kwargs.values()))
    if in_place:
        operands.insert(0, args[0])
    if not operands or not any(map(depends, operands)):
        return None

    def compute(*tensors: Tensor) -> Tensor:
        new = {id(old): tensor for old, tensor in zip(operands, tensors, strict=True)}
        if in_place:
            new[id(args[0])] = tensors[0].clone()
        replaced = _replaced(args, new)
        result = func(*replaced, **_replaced(kwargs, new))
        return replaced[0] if in_place else result

    return Call("affine", _AFFINE, compute, tuple(operands), {}, in_place)


def has_terms(func: Callable) -> bool:
    """Return whether constants may be among the terms of the function."""
    return name_of(func) in _TERMS


def canvas(func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor | None:
    """Return the constant that is about to be written into, in part, by something that is none."""
    target = args[0] if args else None
    if not isinstance(target, Tensor) or target.requires_grad:
        return None
    if 0 not in _TERMS.get(name_of(func), ()) or not _depending((*args[1:], *kwargs.values())):
        return None
    # Where the whole of it is written to, or added to, nothing of it is left beside.
    whole = target if target._base is None else target._base
    if whole is target and name_of(func) in ("add", "sub", "copy"):
        return None
    return whole if not whole.requires_grad and _is_constant(whole) else None


def constant(value: Tensor, beside: Tensor) -> Call:
    """Return the call that puts out `value`, and takes nothing from the tensor `beside`.

    By its edge to that tensor it is part of the graph that a backward pass runs through.
    """
    return Call("constant", _CONSTANT, lambda _: value.clone(), (beside,), {}, False)


def first_depending(values: Sequence[Any]) -> Tensor:
    """Return the first tensor that depends on the picture, also inside lists."""
    return _depending(values)[0]


def _is_constant(value: Any) -> bool:
    """Return whether a term, or one of several, is a number or numbers that can keep relevance.

    Zero cannot, and minus infinity, as in masks of attention, becomes zero.
    """
    if isinstance(value, list | tuple):
        return any(_is_constant(one) for one in value)
    if not isinstance(value, Tensor):
        number = isinstance(value, int | float | complex)
        return number and bool(value) and cmath.isfinite(value)
    counts = value.is_floating_point() or value.is_complex()
    return counts and not value.requires_grad and bool(value.any())


def _depending(values: Sequence[Any]) -> list[Tensor]:
    found: dict[int, Tensor] = {}
    for value in values:
        if isinstance(value, list | tuple):
            found |= {id(one): one for one in _depending(value)}
        elif depends(value):
            found[id(value)] = value
    return list(found.values())


def _replaced(value: Any, new: dict[int, Tensor]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(one, new) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(one, new) for one in value)
    return new.get(id(value), value)
