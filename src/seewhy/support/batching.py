"""How many variants go into one forward; fewer when memory has run out."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.support.settings import Settings

T = TypeVar("T")

# Without a graph nothing is kept, so more fit than a recorded forward takes.
PIXELS_TOGETHER = {"cpu": 8 * 224 * 224, "accelerator": 256 * 224 * 224}


class BatchSizer:
    """The variants that are run together: as many as fit.

    - `together`: their number. - `note`: what has been found out on the way, in words.
    - `recorded`: whether a graph is kept of them.
    - `area`: as how many pixels a variant counts; None: as those of a picture.
    """

    def __init__(
        self,
        settings: Settings,
        pixels: Tensor,
        area: float | None = None,
        recorded: bool = False,
    ):
        budget = PIXELS_TOGETHER["cpu" if pixels.device.type == "cpu" else "accelerator"]
        area = area or pixels.shape[-2] * pixels.shape[-1]
        self.together = settings.most or max(1, int(budget / area))
        if recorded:
            self.together = settings.pictures_together(pixels, pixels.device)
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
        done = 0
        while done < count:
            some = slice(done, min(done + max(1, self.together // members), count))
            try:
                found = run(some)
            except Exception as error:
                if some.stop - some.start > 1 and self.shrink(error):
                    continue
                if too_large and out_of_memory(error):
                    raise too_large from None
                raise
            yield found
            done = some.stop

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
