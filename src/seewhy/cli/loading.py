"""Load pictures from files, folders and standard input, and group them into batches.

Of each picture, the commands keep what the network sees and a copy that is small enough to draw.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from seewhy.cli.jobs import Job, pictures_of
from seewhy.cli.outputs import STDIN
from seewhy.cli.streams import read_standard_input
from seewhy.errors import SeewhyError
from seewhy.images import Batch, Picture, in_batches, load_picture, picture_from_bytes, reduced
from seewhy.models.model import Model

MOST_TOGETHER = 64  # pictures in one figure or page


def load(file: Path) -> Picture:
    """Load the picture from the file or from standard input."""
    if file == STDIN:
        return picture_from_bytes(read_standard_input(), "standard input")
    return load_picture(file)


def load_together(model: Model, requested: Sequence[Path], skipped: list[str]) -> Batch:
    """Load all pictures as one batch, for one figure of all of them.

    If there are several, unreadable ones are skipped, and the reasons are added to `skipped`.
    Raises SeewhyError for more than 64 pictures, or pictures of different sizes.
    """
    files = pictures_of(requested)
    if len(files) > MOST_TOGETHER:
        raise SeewhyError(
            f"{len(files)} pictures are too many for one file (at most {MOST_TOGETHER}); name a "
            "folder with --output for one file per picture"
        )
    ready = []
    for file in files:
        try:
            ready.append(prepared(model, file))
        except SeewhyError as error:
            if len(files) == 1:
                raise
            skipped.append(str(error))
    if not ready:
        raise SeewhyError(f"none of {len(files)} pictures can be read: {skipped[0]}")
    return Batch.joined(ready)


def prepared(model: Model, file: Path) -> Batch:
    """Load one picture and prepare it for the model, as a batch of one."""
    return reduced(model.prepare(load(file)))


def batches(
    model: Model, jobs: Sequence[Job], most: int, skipped: list[str]
) -> Iterator[tuple[list[Job], Batch]]:
    """Yield batches of at most `most` pictures of one size, loaded as they are needed.

    If there are several pictures, unreadable ones are skipped, and the reasons are added to
    `skipped`.
    """
    pictures = [job.picture for job in jobs]

    def ready(file: Path) -> Batch:
        return prepared(model, file)

    for numbers, batch in in_batches(pictures, ready, most, skipped):
        yield [jobs[number] for number in numbers], batch
