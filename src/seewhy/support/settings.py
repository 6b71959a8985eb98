"""Run settings that are independent of the method: seed, precision, batch size, progress."""

from collections.abc import Callable
from dataclasses import dataclass

from seewhy.errors import SeewhyError

LARGEST_SEED = 2**32 - 1  # NumPy's limit; a method may multiply it and stay within 64 bits

Progress = Callable[[int, int], None]  # (done, total), called after each batch


@dataclass(frozen=True)
class Settings:
    """Run settings, shared by all methods of a panel.

    `most` limits the pictures in one forward pass; by default it is chosen for the device.
    `precision` is "full", or "fast" to compute in bfloat16.
    """

    seed: int = 0
    precision: str = "full"
    most: int | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.precision, str) or self.precision not in ("full", "fast"):
            raise SeewhyError(
                f"precision must be 'full' or 'fast' (bfloat16), got {self.precision!r}"
            )
        if self.most is not None and not (isinstance(self.most, int) and self.most >= 1):
            raise SeewhyError(f"a batch must have at least one picture, got {self.most}")
        if not (isinstance(self.seed, int) and 0 <= self.seed <= LARGEST_SEED):
            raise SeewhyError(
                f"the seed must be an integer from 0 to {LARGEST_SEED}, got {self.seed}"
            )
