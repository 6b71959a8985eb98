"""The same scene with one thing changed: exact, because a picture is a function of its factors."""

from typing import Any

from seewhy.errors import Unknown
from seewhy.scenes.factors import Factors

REMOVABLE = ("window", "tree", "lamp", "rug", "table", "clutter", "object", "mark")


def without(factors: Factors, thing: str) -> Factors:
    """The same scenes with one thing taken away, and what was behind it in its place.

    Only pixels under the thing and under its shadow change; taking away the window takes the
    tree outside with it. Raises a SeewhyError for what can't be taken away.
    """
    if thing not in REMOVABLE:
        raise Unknown("thing", thing, REMOVABLE, hint="these can go: " + ", ".join(REMOVABLE))
    gone = {"window": ("window", "tree")}.get(thing, (thing,))
    return factors.replace(**dict.fromkeys(gone, False))


def with_factor(factors: Factors, name: str, value: Any) -> Factors:
    """The same scenes with the factor `name` set to `value`; see `Factors.replace`."""
    return factors.replace(**{name: value})
