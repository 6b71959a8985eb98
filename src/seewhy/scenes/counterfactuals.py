"""Counterfactual scenes with one change; exact, since a picture is a function of its factors."""

from typing import Any

from seewhy.errors import Unknown
from seewhy.scenes.factors import Factors

REMOVABLE = ("window", "tree", "lamp", "rug", "table", "clutter", "object", "mark")


def without(factors: Factors, thing: str) -> Factors:
    """Return the same scenes without one thing; what was behind it becomes visible.

    Only pixels under the thing and under its shadow change. Without the window, the tree outside is
    removed too. Raises Unknown, a SeewhyError, for a thing that cannot be removed.
    """
    if thing not in REMOVABLE:
        raise Unknown("thing", thing, REMOVABLE, hint="one of " + ", ".join(REMOVABLE))
    removed = {"window": ("window", "tree")}.get(thing, (thing,))
    return factors.replace(**dict.fromkeys(removed, False))


def with_factor(factors: Factors, name: str, value: Any) -> Factors:
    """Return the same scenes with the factor `name` set to `value`; see `Factors.replace`."""
    return factors.replace(**{name: value})
