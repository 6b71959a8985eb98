"""Many pictures, read and prepared a few at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.images.files import find_pictures
from seewhy.images.preparing import Batch, several


def each_of(things: Any) -> Sequence[Any]:
    """What `prepare` takes together, one by one and not yet read.

    The path of a folder stands for the pictures in it, and a batch for batches of one.
    """
    if isinstance(things, Batch) or (isinstance(things, Tensor) and things.ndim == 4):
        return [things[i : i + 1] for i in range(len(things))]
    if isinstance(things, str | os.PathLike) and Path(things).is_dir():
        return find_pictures(things)
    return list(several(things))


def in_batches(
    things: Sequence[Any], prepared: Callable[[Any], Batch], most: int, left_out: list[str]
) -> Iterator[tuple[list[int], Batch]]:
    """At most `most` pictures of one size at a time, with their numbers, read as they are needed.

    Of several pictures, one that cannot be read is left out, and `left_out` says why.
    """
    numbers: list[int] = []
    ready: list[Batch] = []
    for number, thing in enumerate(things):
        try:
            one = prepared(thing)
        except SeewhyError as error:
            if len(things) == 1:
                raise
            left_out.append(str(error))
            continue
        if ready and (len(ready) == most or one.pixels.shape != ready[0].pixels.shape):
            yield numbers, Batch.joined(ready)
            numbers, ready = [], []
        numbers.append(number)
        ready.append(one)
    if ready:
        yield numbers, Batch.joined(ready)
