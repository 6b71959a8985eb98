"""Load and prepare many pictures, one batch at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.images.files import find_pictures
from seewhy.images.preparing import Batch, several


def each_of(things: Any) -> Sequence[Any]:
    """Split anything that `prepare` accepts into single items, without loading files.

    A folder is replaced by the pictures in it, and a batch by batches of one picture.
    """
    if isinstance(things, Batch) or (isinstance(things, Tensor) and things.ndim == 4):
        return [things[i : i + 1] for i in range(len(things))]
    if isinstance(things, str | os.PathLike) and Path(things).is_dir():
        return find_pictures(things)
    return list(several(things))


def in_batches(
    things: Sequence[Any], prepared: Callable[[Any], Batch], most: int, left_out: list[str]
) -> Iterator[tuple[list[int], Batch]]:
    """Yield (indices, batch) with up to `most` pictures of one size; files are loaded lazily.

    If one of several pictures cannot be read, it is skipped and the reason is appended to
    `left_out`. A single picture that cannot be read raises SeewhyError.
    """
    indices: list[int] = []
    ready: list[Batch] = []
    for index, thing in enumerate(things):
        try:
            batch = prepared(thing)
        except SeewhyError as error:
            if len(things) == 1:
                raise
            left_out.append(str(error))
            continue
        if ready and (len(ready) == most or batch.pixels.shape != ready[0].pixels.shape):
            yield indices, Batch.joined(ready)
            indices, ready = [], []
        indices.append(index)
        ready.append(batch)
    if ready:
        yield indices, Batch.joined(ready)
