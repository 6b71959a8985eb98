"""How many variants go into one forward; fewer when memory has run out."""

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.support.settings import Settings

T = TypeVar("T")

LARGEST = sys.maxsize

# Pictures of 224 px in one forward, by (on a CPU, recorded). On a CPU, what more than 4 recorded
# ones leave for the backward outgrows what malloc keeps for reuse, and each operation then pays for
# fresh pages: gradients and LRP of a batch of 16 take 1.0 to 1.8 times the seconds with 8 together,
# and a panel twice the memory. Without a graph nothing is kept, so more fit.
PICTURES_TOGETHER = {
    (True, True): 4,
    (True, False): 8,
    (False, True): 64,
    (False, False): 256,
}


class BatchSizer:
    """How many pictures, or variants of pictures, are run together; halved when memory runs out.

    - `recorded`: whether a graph is kept of them. - `device`: where they are run; None: where
    `pixels` are. - `most`: no more than this many, whatever the settings say.
    - `area`: the pixels that a variant counts as; None: those of a picture.

    - `together`: the number. - `note`: what is to be said of it, once memory has run out.
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
        self._asked = self.together

    def shrink(self, error: BaseException) -> bool:
        """Whether the error says that memory has run out, and fewer may be tried."""
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
        """What `run` gives of each part of `count`, in order; a part that does not fit is halved.

        Each of the `count` stands for so many `members`, which are run together. Where memory does
        not hold a single one, `too_large` is raised, or what `run` raised.
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
        """What `run` gives of each block of a table, row by row; as `parts` otherwise.

        A block is several whole rows where they fit, else part of a row.
        """
        done = 0
        while done < rows * columns:
            row, column = divmod(done, columns)
            together = max(1, self.together // members)
            some = slice(column, min(column + together, columns))
            width = some.stop - some.start
            height = min(max(1, together // columns), rows - row) if width == columns else 1
            try:
                found = run(slice(row, row + height), some)
            except Exception as error:
                if height * width > 1 and self.shrink(error):
                    continue
                if too_large and out_of_memory(error):
                    raise too_large from None
                raise
            yield found
            done += height * width

    @property
    def note(self) -> str | None:
        """What to tell the user, where memory has run out."""
        if self.together == self._asked:
            return None
        return f"memory ran out at batches of {self._asked}; went on with {self.together}"


def out_of_memory(error: BaseException) -> bool:
    """Whether torch, CUDA or Python ran out of memory."""
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
