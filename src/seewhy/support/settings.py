"""How to run, as opposed to what: seed, precision, batches, progress."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.errors import SeewhyError

LARGEST_SEED = 2**32 - 1  # as NumPy's; a method may multiply it and still fit 64 bits

# On a CPU, what more than 4 pictures of 224 px leave for the backward outgrows what malloc keeps
# for reuse, and each operation then pays for fresh pages: gradients and LRP of a batch of 16 take
# 1.0 to 1.8 times the seconds with 8 together, and a panel twice the memory.
PIXELS_TOGETHER = {"cpu": 4 * 224 * 224, "accelerator": 64 * 224 * 224}

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

    def pictures_together(self, pixels: Tensor, device: torch.device) -> int:
        """How many pictures of this size go into one forward on the device."""
        if self.most is not None:
            return self.most
        budget = PIXELS_TOGETHER["cpu" if device.type == "cpu" else "accelerator"]
        return max(1, budget // (pixels.shape[-2] * pixels.shape[-1]))
