"""Choose batch sizes, and reduce them when memory runs out."""

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.support.settings import Settings

T = TypeVar("T")

LARGEST = sys.maxsize

# Pictures of 224 px in one forward pass, by (on a CPU, recorded). On a CPU, the activations that
# more than 4 recorded pictures keep for the backward pass exceed the memory that malloc reuses, and
# each operation then waits for new pages: with 8 at a time, gradients and LRP of a batch of 16 take
# 1.0 to 1.8 times as long, and a panel twice the memory. Without a graph no activations are kept,
# so more pictures fit.
PICTURES_TOGETHER = {
    (True, True): 4,
    (True, False): 8,
    (False, True): 64,
    (False, False): 256,
}


class BatchSizer:
    """Decides how many pictures, or variants of pictures, share a forward pass.

    - `recorded`: whether the autograd graph is kept.
    - `device`: where the forward pass runs; default: the device of `pixels`.
    - `most`: an upper bound, in addition to the one in `settings`.
    - `area`: the cost of one variant in pixels; default: the area of a picture.

    `together` is the current batch size; it is halved when memory runs out. `note` then tells the
    user so.
    """

    def __init__(
        self,
        settings: Settings,
        pixels: Tensor,
        *,
        recorded: bool = False,
        device: torch.device | None = None,
        most: int | None = None,
        area: float | None = None,
    ):
        on_cpu = (device or pixels.device).type == "cpu"
        budget = PICTURES_TOGETHER[on_cpu, recorded] * 224 * 224
        fitting = max(1, int(budget / (area or pixels.shape[-2] * pixels.shape[-1])))
        self.together = min(settings.most or fitting, most or LARGEST)
        self._requested = self.together

    def shrink(self, error: BaseException) -> bool:
        """Halve the batch size if the error means out of memory; return whether to try again."""
        if not out_of_memory(error) or self.together == 1:
            return False
        self.together = max(1, self.together // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def parts(
        self,
        count: int,
        run: Callable[[slice], T],
        too_large: SeewhyError | None = None,
        members: int = 1,
    ) -> Iterator[T]:
        """Yield `run(part)` for consecutive slices of range(count), each as long as memory allows.

        Each of the `count` items runs `members` pictures at once. If a single item does not fit
        into memory, `too_large` is raised, or else the error of `run`.
        """
        yield from self.blocks(count, 1, lambda rows, _: run(rows), too_large, members)

    def blocks(
        self,
        rows: int,
        columns: int,
        run: Callable[[slice, slice], T],
        too_large: SeewhyError | None = None,
        members: int = 1,
    ) -> Iterator[T]:
        """Yield `run(rows, columns)` for the blocks of a table, row by row; compare `parts`.

        A block is several whole rows if they fit into memory, otherwise a part of one row.
        """
        done = 0
        while done < rows * columns:
            row, column = divmod(done, columns)
            together = max(1, self.together // members)
            block_columns = slice(column, min(column + together, columns))
            width = block_columns.stop - block_columns.start
            height = min(max(1, together // columns), rows - row) if width == columns else 1
            try:
                result = run(slice(row, row + height), block_columns)
            except Exception as error:
                if height * width > 1 and self.shrink(error):
                    continue
                if too_large and out_of_memory(error):
                    raise too_large from None
                raise
            yield result
            done += height * width

    @property
    def note(self) -> str | None:
        """A message for the user if the batch size was reduced, else None."""
        if self.together == self._requested:
            return None
        return f"memory ran out at batches of {self._requested}; went on with {self.together}"


def out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that torch, CUDA or Python ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = (
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "alloc_failed",
        "bad_alloc",
    )
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in words)
