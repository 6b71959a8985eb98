"""Check that a result from a file has the fields that its class declares, so that it can be used.

An archive may have been written by anyone. Types, dtypes and shapes are compared with the
annotations; sizes with the same name must be equal within one dataclass.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jaxtyping import jaxtyped

from seewhy.errors import SeewhyError


def require_fields(value: Any) -> None:
    """Raise SeewhyError if a field of a dataclass, or of one in it, has another type or shape."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            require_fields(item)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return
    hints = get_type_hints(type(value))
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    with jaxtyped("context"):
        wrong = [name for name, field in fields.items() if not _fits(field, hints[name])]
    if wrong:
        raise SeewhyError(
            f"expected a saved result, got a {type(value).__name__} with another kind of "
            f"{wrong[0]}; save it again"
        )
    for field in fields.values():
        require_fields(field)


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or hint is None:
        return hint is Any or value is None
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple and inner[-1:] != (...,):
        right = isinstance(value, tuple) and len(value) == len(inner)
        return right and all(map(_fits, value, inner))
    if origin in (tuple, list, Sequence):
        kinds = tuple if origin is tuple else (list, tuple)
        return isinstance(value, kinds) and all(_fits(item, inner[0]) for item in value)
    if origin is Callable:
        return callable(value)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is int if hint is int else isinstance(value, origin or hint)
