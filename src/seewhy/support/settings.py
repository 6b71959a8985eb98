"""How to run, as opposed to what: seed, precision, batches, progress."""

from collections.abc import Callable
from dataclasses import dataclass

from seewhy.errors import SeewhyError

LARGEST_SEED = 2**32 - 1  # as NumPy's; a method may multiply it and still fit 64 bits

Progress = Callable[[int, int], None]  # (done, in all), called after each batch of forwards


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: the same for all methods of a panel.

    `most` bounds the pictures in one forward, None as the device likes it best; `precision`
    "fast" computes in bfloat16.
    """

    seed: int = 0
    precision: str = "full"
    most: int | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("full", "fast"):
            raise SeewhyError(f"precision is 'full' or 'fast' (bfloat16), not {self.precision!r}")
        if self.most is not None and not (isinstance(self.most, int) and self.most >= 1):
            raise SeewhyError(f"a batch has at least one picture, not {self.most}")
        if not (isinstance(self.seed, int) and 0 <= self.seed <= LARGEST_SEED):
            raise SeewhyError(f"a seed is a whole number from 0 to {LARGEST_SEED}, not {self.seed}")
