"""Pictures of files, folders and standard input, loaded and put together in batches."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from seewhy.cli.jobs import Job, pictures_of
from seewhy.cli.outputs import STDIN
from seewhy.images import Batch, Picture, in_batches, load_picture, picture_from_bytes
from seewhy.models.model import Model


def load(file: Path) -> Picture:
    """The picture in the file, or on standard input."""
    if file == STDIN:
        return picture_from_bytes(sys.stdin.buffer.read(), "standard input")
    return load_picture(file)


def load_all(asked: Sequence[Path]) -> list[Picture]:
    """The pictures that files and folders stand for."""
    return [load(file) for file in pictures_of(asked)]


def batches(
    model: Model, jobs: Sequence[Job], most: int, left_out: list[str]
) -> Iterator[tuple[list[Job], Batch]]:
    """At most `most` pictures of one size at a time, loaded as they are needed.

    Of several pictures, one that cannot be read is left out, and `left_out` says why.
    """
    pictures = [job.picture for job in jobs]

    def prepared(file: Path) -> Batch:
        return model.prepare(load(file))

    for numbers, batch in in_batches(pictures, prepared, most, left_out):
        yield [jobs[number] for number in numbers], batch
