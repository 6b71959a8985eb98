"""Checks the shapes in seewhy's signatures, and nothing else in them.

A caller who gives a value of the wrong type must meet the error that seewhy has for it, also in
tests; so annotations without a shape are left to the static type checker.
"""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def check_shapes(function: Callable) -> Callable:
    """`function`, with its array annotations enforced."""
    hints = function.__annotations__.items()
    function.__annotations__ = {name: hint for name, hint in hints if _has_shape(hint)}
    return beartype(function)


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_has_shape(part) for part in get_args(hint))
