"""Pictures of many jobs, prepared and put together in batches."""

from collections.abc import Iterator, Sequence

from seewhy.cli.jobs import Job
from seewhy.errors import SeewhyError
from seewhy.images import Batch
from seewhy.model import Model


def batches(
    model: Model, jobs: Sequence[Job], most: int, left_out: list[str]
) -> Iterator[tuple[list[Job], Batch]]:
    """At most `most` pictures of one size at a time, loaded as they are needed.

    Of several pictures, one that cannot be read is left out, and `left_out` says why.
    """
    part: list[Job] = []
    ready: list[Batch] = []
    for job in jobs:
        try:
            one = model.prepare(job.picture)
        except SeewhyError as error:
            if len(jobs) == 1:
                raise
            left_out.append(str(error))
            continue
        if ready and (len(ready) == most or one.pixels.shape != ready[0].pixels.shape):
            yield part, Batch.joined(ready)
            part, ready = [], []
        part.append(job)
        ready.append(one)
    if ready:
        yield part, Batch.joined(ready)
