"""Load pictures from files, folders and standard input, and group them into batches."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from seewhy.cli.jobs import Job, pictures_of
from seewhy.cli.outputs import STDIN
from seewhy.images import Batch, Picture, in_batches, load_picture, picture_from_bytes
from seewhy.models.model import Model


def load(file: Path) -> Picture:
    """Load the picture from the file or from standard input."""
    if file == STDIN:
        return picture_from_bytes(sys.stdin.buffer.read(), "standard input")
    return load_picture(file)


def load_all(requested: Sequence[Path]) -> list[Picture]:
    """Load all pictures from files and folders."""
    return [load(file) for file in pictures_of(requested)]


def batches(
    model: Model, jobs: Sequence[Job], most: int, skipped: list[str]
) -> Iterator[tuple[list[Job], Batch]]:
    """Yield batches of at most `most` pictures of one size, loaded as they are needed.

    If there are several pictures, unreadable ones are skipped, and the reasons are added to
    `skipped`.
    """
    pictures = [job.picture for job in jobs]

    def prepared(file: Path) -> Batch:
        return model.prepare(load(file))

    for numbers, batch in in_batches(pictures, prepared, most, skipped):
        yield [jobs[number] for number in numbers], batch
