"""`seewhy explain`: one method on one picture, several, or a folder of them."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from seewhy.attribution.explain import explain as explain_pictures
from seewhy.attribution.explanation import Explanation
from seewhy.attribution.explanation_view import readable
from seewhy.attribution.method import Method
from seewhy.cli.hyperparameters import configured
from seewhy.cli.jobs import Job, pictures_of, plan
from seewhy.cli.loading import batches
from seewhy.cli.options import (
    MODEL,
    RUN,
    SWITCH,
    TARGET,
    ModelOptions,
    Output,
    RunOptions,
    TargetOptions,
)
from seewhy.cli.outputs import unless_left_empty
from seewhy.cli.progress import progress
from seewhy.errors import SeewhyError
from seewhy.targets.terms import TargetLike

LOADED = 16  # pictures that are loaded and saved together by default


def explain(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    method: str = "grad-cam",
    layer: str | None = None,
    set_: Annotated[
        tuple[str, ...], Parameter(name=["--set", "-s"], negative=(), show_default=False)
    ] = (),
    output: Output = None,
    format_: Annotated[str, Parameter(name="--format")] = "png",
    resume: Annotated[bool, SWITCH] = False,
    target: TargetOptions = TARGET,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
    """Show what a model looked at.

    Parameters
    ----------
    pictures
        Picture files or folders; - reads one picture from standard input.
    method
        The name of a method; `seewhy methods` lists them.
    set_
        A hyperparameter of the method, as name=value; may be repeated. `seewhy methods NAME` lists
        the hyperparameters.
    layer
        The layer, for methods that read one. The default depends on the model and is reported.
    output
        For one picture, the file to write; its suffix selects the format: .png, .npz,
        .safetensors, .json or .html. For several pictures, the folder, created if needed. By
        default dog.grad-cam.png in the current folder.
    format_
        The format when --output names no file: png, npz, safetensors, json or html.
    resume
        Skip pictures whose output file exists.
    """
    chosen = configured(method, layer, set_)
    with unless_left_empty(output):
        jobs = _jobs(pictures, output, chosen, format_, run.json, resume)
        return _done(jobs, model, chosen, target.value, run, resume)


def _done(
    jobs: Sequence[Job],
    model: ModelOptions,
    method: Method,
    target: TargetLike,
    run: RunOptions,
    resume: bool,
) -> int:
    """Run the jobs that remain and return the exit status."""
    todo = [job for job in jobs if not (resume and job.done)]
    outcome = Outcome(run, todo, len(jobs) - len(todo))
    try:
        if todo:
            _work(model, method, target, outcome)
    except KeyboardInterrupt:
        outcome.close()
        raise KeyboardInterrupt(outcome.so_far()) from None
    return outcome.close()


def _jobs(
    pictures: Sequence[Path],
    output: Path | None,
    method: Method,
    suffix: str,
    as_json: bool,
    resume: bool,
) -> list[Job]:
    """Plan one job per picture; with `--json` and no output, only the JSON is written."""
    if output is not None or not as_json:
        return plan(pictures, output, method.name, suffix)
    if resume:
        raise SeewhyError("--resume needs files to resume from; name their folder with --output")
    return [Job(picture, None) for picture in pictures_of(pictures)]


def _work(model: ModelOptions, method: Method, target: TargetLike, outcome: "Outcome") -> None:
    opened, run, todo = model.open(), outcome.run, outcome.todo
    with progress(run.quiet) as tell:
        for part, batch in batches(opened, todo, run.batch_size or LOADED, outcome.skipped):
            within = _within(tell, outcome.seen, len(part), len(todo))
            explanation = explain_pictures(
                opened, batch, method, target, progress=within, **run.keywords
            )
            for number, job in enumerate(part):
                # Entries are ordered by target: every len(part)-th is about this picture.
                outcome.add(job, explanation[number :: len(part)])


def _within(
    tell: Callable[[str, float], None], before: int, now: int, total: int
) -> Callable[[str, float], None]:
    """Convert the progress of one batch to the progress of the whole run."""
    return lambda what, share: tell(
        f"{what}, picture {before + 1} of {total}" if total > 1 else what,
        (before + share * now) / total,
    )


class Outcome:
    """Results of the jobs: each is saved and printed when ready; skipped pictures come last."""

    def __init__(self, run: RunOptions, todo: Sequence[Job], already_done: int):
        self.run = run
        self.todo = todo
        self.skipped: list[str] = []
        self._finished = 0
        self._results: list[dict[str, Any]] = []
        if already_done and not (run.json or run.quiet):
            print(f"{already_done} of {already_done + len(todo)} pictures were done before")

    @property
    def seen(self) -> int:
        """The number of pictures that are finished or skipped."""
        return self._finished + len(self.skipped)

    def add(self, job: Job, explanation: Explanation) -> None:
        """Save the explanation of one picture and print its summary."""
        if job.path:
            explanation.save(job.path)
        self._finished += 1
        if self.run.json:
            written = {"file": None if job.path is None else str(job.path)}
            self._results.append(readable(explanation) | written)
        elif not self.run.quiet:
            print(f"{explanation.summary()}\nwritten   {job.path}\n", flush=True)

    def close(self) -> int:
        """Print the JSON results and the skipped pictures; return the exit status."""
        if self.run.json:
            print(json.dumps(self._results, ensure_ascii=False, indent=2), flush=True)
        for reason in self.skipped:
            print(f"seewhy: skipped: {reason}", file=sys.stderr)
        return 2 if self.skipped else 0

    def so_far(self) -> str:
        """Return how many pictures an interrupted run finished, and how to resume it."""
        if not self._finished:
            return "no picture was finished"
        hint = "; add --resume to continue" if self.todo[0].path else ""
        return f"{self._finished} of {len(self.todo)} pictures are finished{hint}"
