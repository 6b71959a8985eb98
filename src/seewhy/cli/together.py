"""Commands that draw all pictures in one figure, or one file per picture into a folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.cli.jobs import pictures_of, plan
from seewhy.cli.loading import load_together
from seewhy.cli.options import ModelOptions, OutputOptions, RunOptions
from seewhy.cli.outputs import STDIN, figure_path, unless_left_empty
from seewhy.cli.printing import say, say_json, warn, wrote_file
from seewhy.cli.progress import progress
from seewhy.cli.running import Task, Tell, one_by_one, run_all
from seewhy.errors import SeewhyError
from seewhy.images import Batch
from seewhy.models.model import Model
from seewhy.results import Result


def run_together(
    command: str,
    compute: Callable[[Model, Batch, Tell], Result],
    settings: Mapping[str, Any],
    pictures: Sequence[Path],
    to: OutputOptions,
    model: ModelOptions,
    options: RunOptions,
    split: Callable[[Model, Batch, Tell], Sequence[Result]] | None = None,
    only_together: str = "",
    task: Task | None = None,
) -> int:
    """Compute one result for all pictures, or one for each if the output is a folder.

    - `settings`: what the results depend on, see `Task`. - `split`: computes the results of a
    batch; by default `compute` does, picture by picture. - `only_together`: why there is no result
    for each picture, if so. - `task`: how results are printed and saved.

    Returns the exit status: 2 if pictures were left out.
    """
    printed = task or Task(split or one_by_one(compute), settings)
    if _is_folder(to.output):
        if only_together:
            raise SeewhyError(f"{only_together}; name a file with --output, not a folder")
        with unless_left_empty(to.output):
            to_do = plan(pictures, to, command)
            return run_all(printed, to_do, model, options, to.resume)
    if to.resume:
        raise SeewhyError("--resume needs a folder of results; name it with --output")
    path = _path(to, pictures, command)
    skipped: list[str] = []
    opened = model.open()
    batch = load_together(opened, pictures, skipped)
    with progress(options.quiet) as tell:
        result = compute(opened, batch, tell)
    result.save(path, **printed.saving)
    wrote_file()
    if options.json:
        say_json(printed.data(result) | {"file": str(path)})
    elif not options.quiet:
        say(f"{printed.summary(result)}\nwritten   {path}")
    for reason in skipped:
        warn(f"skipped: {reason}")
    return 2 if skipped else 0


def _is_folder(output: Path | None) -> bool:
    """Return whether the output is a folder, or a new name without a suffix."""
    return output is not None and (output.is_dir() or not output.suffix)


def _path(to: OutputOptions, pictures: Sequence[Path], command: str) -> Path:
    for path in pictures:
        if path != STDIN and not path.exists():
            pictures_of([path])  # raises, and names similar files
    return figure_path(to.output, pictures, command, to.suffix)
