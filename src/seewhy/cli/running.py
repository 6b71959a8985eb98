"""One run over many pictures, for every command: in batches, with progress, resumable.

Pictures are loaded when they are needed and only a small copy of each is kept, results are saved
when they are ready, and pictures that cannot be read are left out by name. Memory does not grow
with the number of pictures.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision

from seewhy.cli.jobs import Job, Plan
from seewhy.cli.loading import batches
from seewhy.cli.options import ModelOptions, RunOptions
from seewhy.cli.outputs import STDIN
from seewhy.cli.printing import JsonList, say, warn, wrote_file
from seewhy.cli.progress import progress
from seewhy.images import Batch
from seewhy.models.fingerprint import fingerprint
from seewhy.models.model import Model
from seewhy.results import Result
from seewhy.support.manifest import Manifest, sha256_of
from seewhy.version import __version__

LOADED = 16  # pictures that are loaded and explained together by default

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Task:
    """What a command computes for each picture.

    - `compute`: returns one result per picture of a batch. - `settings`: what the results depend
    on, besides the model, the run options and the picture; JSON values. - `summary`, `data`: a
    result as text and as JSON. - `saving`: options of `Result.save`.
    """

    compute: Callable[[Model, Batch, Tell], Sequence[Result]]
    settings: Mapping[str, Any]
    summary: Callable[[Any], str] = lambda result: result.summary()
    data: Callable[[Any], dict[str, Any]] = lambda result: result.to_dict()
    saving: Mapping[str, Any] = field(default_factory=dict)


def one_by_one(
    compute: Callable[[Model, Batch, Tell], Result],
) -> Callable[[Model, Batch, Tell], list[Result]]:
    """Return a function of a batch that computes the result of each picture alone."""

    def results(model: Model, batch: Batch, tell: Tell) -> list[Result]:
        return [
            compute(model, batch[i : i + 1], within(tell, i, 1, len(batch)))
            for i in range(len(batch))
        ]

    return results


def within(tell: Tell, before: int, now: int, total: int) -> Tell:
    """Convert the progress of some pictures to that of the whole run."""
    return lambda what, share: tell(what, (before + share * now) / total)


def run_all(
    task: Task, to_do: Plan, model: ModelOptions, options: RunOptions, resume: bool = False
) -> int:
    """Run the task for each picture of the plan, and return the exit status.

    The status is 2 if pictures were left out. With `resume`, results are skipped that were made
    with the same picture, model, settings and versions.
    """
    opened = model.open()
    outcome = Outcome(task, options, len(to_do.jobs))
    with _manifest(to_do, task, opened, options) as manifest:
        jobs = to_do.jobs
        if resume and manifest is not None:
            jobs = outcome.without_done(manifest, jobs)
        try:
            with progress(options.quiet) as tell:
                _work(task, opened, jobs, manifest, outcome, tell)
        except KeyboardInterrupt:
            outcome.close()
            raise KeyboardInterrupt(outcome.so_far(to_do)) from None
        return outcome.close()


def _work(
    task: Task,
    model: Model,
    jobs: Sequence[Job],
    manifest: Manifest | None,
    outcome: "Outcome",
    tell: Tell,
) -> None:
    together = outcome.options.batch_size or LOADED
    for part, batch in batches(model, jobs, together, outcome.skipped):
        contents = [_content(job) if manifest else "" for job in part]
        seen, total = outcome.seen, outcome.total
        where = f", picture {seen + 1} of {total}" if total > 1 else ""
        inner = within(tell, seen, len(part), total)
        results = task.compute(model, batch, lambda what, s, w=where, t=inner: t(what + w, s))
        for job, content, result in zip(part, contents, results, strict=True):
            if job.path is not None:
                result.save(job.path, **task.saving)
                wrote_file()
                if manifest is not None:
                    manifest.add(job.path, str(job.picture), content)
            outcome.add(job, result)


@contextmanager
def _manifest(
    to_do: Plan, task: Task, model: Model, options: RunOptions
) -> Iterator[Manifest | None]:
    if to_do.folder is None:
        yield None
        return
    with manifest_of(to_do.folder, task.settings, model, options) as manifest:
        yield manifest


@contextmanager
def manifest_of(
    folder: Path, given: Mapping[str, Any], model: Model, options: RunOptions
) -> Iterator[Manifest]:
    """Open the folder's manifest for results that depend on these settings and the model."""
    settings = {
        **given,
        "precision": options.precision,
        "seed": options.seed,
        **fingerprint(model),
        "seewhy": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    with Manifest.opened(folder, settings) as manifest:
        yield manifest


def _content(job: Job) -> str:
    return "" if job.picture == STDIN else sha256_of(job.picture)


class Outcome:
    """What is finished: each result is printed when it is ready; pictures left out come last."""

    def __init__(self, task: Task, options: RunOptions, planned: int):
        self.task, self.options = task, options
        self.total = planned
        self.skipped: list[str] = []
        self._finished = 0
        self._json = JsonList() if options.json else None

    @property
    def seen(self) -> int:
        """The number of pictures that are finished or left out."""
        return self._finished + len(self.skipped)

    def without_done(self, manifest: Manifest, jobs: Sequence[Job]) -> Sequence[Job]:
        """Return the jobs that remain, and print how many were done and why others are not."""
        reasons = {job: manifest.why_not_done(job.path, _content(job)) for job in jobs if job.path}
        left = [job for job in jobs if reasons.get(job, "it is new")]
        self.total = len(left)
        if self._json is None and not self.options.quiet:
            if len(left) < len(jobs):
                say(f"{len(jobs) - len(left)} of {len(jobs)} pictures were done before")
            again = Counter(reasons[job] for job in left if reasons[job] != "it is new")
            for reason, count in sorted(again.items()):
                say(f"{count} to be done again: {reason}")
        return left

    def add(self, job: Job, result: Result) -> None:
        """Print the result of one picture."""
        self._finished += 1
        if self._json is not None:
            written = {"file": None if job.path is None else str(job.path)}
            self._json.add(self.task.data(result) | written)
        elif not self.options.quiet:
            say(f"{self.task.summary(result)}\nwritten   {job.path}\n")

    def close(self) -> int:
        """Print the end of the JSON results, and the pictures left out; return the exit status."""
        if self._json is not None:
            self._json.close()
        for reason in self.skipped:
            warn(f"skipped: {reason}")
        return 2 if self.skipped else 0

    def so_far(self, to_do: Plan) -> str:
        """Return how many pictures an interrupted run finished, and how to resume it."""
        if not self._finished:
            return "no picture was finished"
        hint = "; add --resume to continue" if to_do.folder is not None else ""
        return f"{self._finished} of {self.total} pictures are finished{hint}"
