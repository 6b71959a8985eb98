"""Sample seeded scenes with independent factors, optionally with correlations or a shortcut.

Every factor is a function of its own uniform latent in [0, 1). A correlation of strength s
copies the first factor's latent to the second with probability s, independently per picture. The
Spearman correlation of the two latents is then s, and the distribution of each factor does not
change. For two booleans that are both true with probability 0.5, s is also their phi coefficient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.scenes.factors import (
    CLUTTER_MOST,
    NAMES,
    RANGES,
    Factors,
    check_factor,
    class_index,
)

PRESENCE = {"window": 0.7, "tree": 0.6, "lamp": 0.5, "rug": 0.5, "table": 0.5, "clutter": 0.7}
COUPLED = (*RANGES, *PRESENCE, *NAMES, "clutter_amount")  # factors that can be correlated

Latents = dict[str, np.ndarray]


@dataclass(frozen=True)
class Shortcut:
    """A mark in the corner that predicts a class.

    P(mark | cls) = strength and P(mark | any other class) = leak, by default 1 - strength. If
    strength equals leak, the mark is independent of the class.
    """

    cls: str | int
    strength: float = 0.95
    leak: float | None = None

    @property
    def elsewhere(self) -> float:
        """P(mark | another class)."""
        return 1 - self.strength if self.leak is None else self.leak


def sample(
    count: int,
    seed: int,
    *,
    correlations: Mapping[tuple[str, str], float] | None = None,
    shortcut: Shortcut | None = None,
) -> Factors:
    """Sample `count` scenes; scene i depends only on the seed and i.

    So `sample(9, 0)[:4]` equals `sample(4, 0)`.

    - `correlations`: {(first, second): strength in [0, 1]}, see the module docstring. They are
      applied in order, and the second factor of a pair may not be part of an earlier pair.
    - `shortcut`: makes the mark depend on one class; without it there are no marks.

    Raises a SeewhyError for a negative count or seed, an unknown factor, or a strength outside
    [0, 1].
    """
    for name, value in {"count": count, "seed": seed}.items():
        if value < 0:
            raise SeewhyError(f"{name} must not be negative, got {value}")
    latents: Latents = {name: _uniform(name, seed, count) for name in COUPLED}
    _plant(latents, correlations or {}, seed)

    columns: dict[str, Tensor] = {}
    for name, (low, high) in RANGES.items():
        columns[name] = torch.from_numpy(low + (high - low) * latents[name]).float()
    for name, probability in PRESENCE.items():  # present if the latent is high
        columns[name] = torch.from_numpy(latents[name] >= 1 - probability)
    for name, names in NAMES.items():
        columns[name] = torch.from_numpy((latents[name] * len(names)).astype(np.int64))
    amount = 1 + (latents["clutter_amount"] * CLUTTER_MOST).astype(np.int64)
    columns["clutter_amount"] = torch.from_numpy(amount)
    columns["tree"] &= columns["window"]
    columns["object"] = torch.ones(count, dtype=torch.bool)
    columns["mark"] = _marks(columns["shape"], shortcut, seed)
    layout = _uniform("clutter_layout", seed, count, CLUTTER_MOST, 4)
    columns["clutter_layout"] = torch.from_numpy(layout).float()
    return Factors(**columns)


def _uniform(name: str, seed: int, *shape: int) -> Float[np.ndarray, "..."]:
    """Sample uniform numbers in [0, 1) from a random stream of their own for each name."""
    return np.random.default_rng([seed, crc32(name.encode())]).random(shape)


def _plant(latents: Latents, correlations: Mapping[tuple[str, str], float], seed: int) -> None:
    used: set[str] = set()
    for (first, second), strength in correlations.items():
        for name in (first, second):
            check_factor(name)
            if name not in latents:
                raise SeewhyError(
                    f"{name} cannot be correlated; choose from {', '.join(COUPLED)}"
                    + ("; for the mark, use a Shortcut" if name == "mark" else "")
                )
        _check_probability(f"correlation of {first} and {second}", strength)
        if second in used or first == second:
            raise SeewhyError(
                f"correlation ({first}, {second}): {second} is already in an earlier pair; "
                "list pairs in the order of cause and effect, each effect once"
            )
        used |= {first, second}
        count = len(latents[first])
        copied = _uniform(f"{first}->{second}", seed, count) < strength
        latents[second] = np.where(copied, latents[first], latents[second])


def _marks(shape: Tensor, shortcut: Shortcut | None, seed: int) -> Tensor:
    if shortcut is None:
        return torch.zeros(len(shape), dtype=torch.bool)
    _check_probability("shortcut strength", shortcut.strength)
    _check_probability("shortcut leak", shortcut.elsewhere)
    chance = np.where(
        shape.numpy() == class_index(shortcut.cls), shortcut.strength, shortcut.elsewhere
    )
    return torch.from_numpy(_uniform("mark", seed, len(shape)) < chance)


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SeewhyError(f"{name} must be in [0, 1], got {value}")
