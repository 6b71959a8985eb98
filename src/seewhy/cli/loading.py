"""Pictures of many jobs, prepared and put together in batches."""

from collections.abc import Iterator, Sequence

from seewhy.cli.jobs import Job
from seewhy.images import Batch, in_batches
from seewhy.models.model import Model


def batches(
    model: Model, jobs: Sequence[Job], most: int, left_out: list[str]
) -> Iterator[tuple[list[Job], Batch]]:
    """At most `most` pictures of one size at a time, loaded as they are needed.

    Of several pictures, one that cannot be read is left out, and `left_out` says why.
    """
    pictures = [job.picture for job in jobs]
    for numbers, batch in in_batches(pictures, model.prepare, most, left_out):
        yield [jobs[number] for number in numbers], batch
