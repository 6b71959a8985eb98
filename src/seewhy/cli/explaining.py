"""`seewhy explain`: one method on one picture, several, or a folder of them."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from seewhy.attribution.method import Method, as_method
from seewhy.cli.options import MODEL, RUN, ModelOptions, RunOptions
from seewhy.cli.places import check_suffix, check_writable, make_folder, names_in
from seewhy.cli.progress import progress
from seewhy.cli.settings import parse_settings
from seewhy.errors import SeewhyError
from seewhy.explaining import explain as explain_pictures
from seewhy.explanation import Explanation
from seewhy.images import Picture, find_pictures, load_picture
from seewhy.model import Model
from seewhy.show.readable import readable

SUFFIXES = (".png", ".npz", ".safetensors", ".json", ".html")


def explain(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    method: str = "grad-cam",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    set_: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"])] = (),
    format_: Annotated[str, Parameter(name="--format")] = "png",
    resume: Annotated[bool, Parameter(negative=())] = False,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
    """Show what a model looked at.

    Parameters
    ----------
    pictures
        Picture files, or folders of them.
    method
        One of `seewhy methods`.
    output
        For one picture the file to write, by suffix: .png, .npz, .safetensors, .json, .html.
        For several the folder, made if need be. By default dog.grad-cam.png right here.
    set_
        A hyperparameter of the method, as name=value; see `seewhy methods NAME`.
    format_
        The suffix of the files when there are several pictures.
    resume
        Leave out pictures whose file is already there.
    """
    files = find_pictures(pictures)
    chosen = as_method(method, layer=run.layer, **parse_settings(method, set_))
    plan = _plan(files, pictures, output, chosen, format_, run)
    todo = [job for job in plan if not (resume and job.path and job.path.exists())]
    failures: list[str] = []
    results: list[dict[str, Any]] = []
    opened = model.open()
    with progress(run.quiet) as tell:
        for done, part in _batches(todo, run.batch_size, len(plan) > 1, failures):
            explanation = _explained(opened, [p for _, p in part], chosen, run, tell, done, todo)
            for (job, _), one in zip(part, explanation, strict=True):
                if job.path:
                    one.save(job.path)
                _say(one, job, run, results)
    if run.json:
        print(json.dumps(results, ensure_ascii=False, indent=2))
    for failure in failures:
        print(f"seewhy: left out: {failure}", file=sys.stderr)
    return 2 if failures else 0


@dataclass(frozen=True)
class Job:
    """A picture and the file that its explanation goes to, if any."""

    picture: Path
    path: Path | None


def _plan(
    files: Sequence[Path],
    asked: Sequence[Path],
    output: Path | None,
    method: Method,
    suffix: str,
    run: RunOptions,
) -> list[Job]:
    """Where each explanation goes; refuses before any work what could not be written after it."""
    suffix = f".{suffix.lstrip('.')}"
    check_suffix(Path(f"out{suffix}"), SUFFIXES)
    if output is None and run.json:
        return [Job(file, None) for file in files]
    single = len(files) == 1 and not Path(asked[0]).is_dir()
    if single and (output is None or not output.is_dir()):
        path = output or names_in(Path(), files, method.name, suffix)[0]
        return [Job(files[0], check_writable(check_suffix(path, SUFFIXES)))]
    folder = output or Path()
    if folder.suffix.lower() in SUFFIXES:
        raise SeewhyError(f"{len(files)} pictures cannot go into one file {folder}; name a folder")
    paths = names_in(make_folder(folder), files, method.name, suffix)
    check_writable(paths[0])
    return [Job(file, path) for file, path in zip(files, paths, strict=True)]


def _batches(
    jobs: Sequence[Job], size: int, several: bool, failures: list[str]
) -> Iterator[tuple[int, list[tuple[Job, Picture]]]]:
    """Batches of loaded pictures; of several, one that cannot be read is noted and left out."""
    for start in range(0, len(jobs), max(size, 1)):
        part = []
        for job in jobs[start : start + size]:
            try:
                part.append((job, load_picture(job.picture)))
            except SeewhyError as error:
                if not several:
                    raise
                failures.append(str(error))
        if part:
            yield start, part


def _explained(
    model: Model,
    pictures: Sequence[Picture],
    method: Method,
    run: RunOptions,
    tell: Any,
    done: int,
    todo: Sequence[Job],
) -> Explanation:
    share = len(pictures) / len(todo)
    keywords = {k: v for k, v in run.keywords.items() if k != "layer"}
    return explain_pictures(
        model,
        pictures,
        method,
        progress=lambda what, part: tell(what, done / len(todo) + part * share),
        **keywords,
    )


def _say(one: Explanation, job: Job, run: RunOptions, results: list[dict[str, Any]]) -> None:
    if run.json:
        written = {"file": None if job.path is None else str(job.path)}
        results.append(readable(one) | written)
    elif not run.quiet:
        print(one.summary())
        print(f"written   {job.path}\n")
