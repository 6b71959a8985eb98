"""The jobs of a run over pictures: the output file for each picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seewhy.attribution.method import REGISTRY
from seewhy.cli.options import OutputOptions
from seewhy.cli.outputs import FIGURES, STDIN, check_suffix, check_writable, make_folder, names_in
from seewhy.errors import SeewhyError
from seewhy.images import find_pictures
from seewhy.results import SUFFIXES


@dataclass(frozen=True)
class Job:
    """A picture and the file for its result, or None if the result is only printed."""

    picture: Path
    path: Path | None


@dataclass(frozen=True)
class Plan:
    """The jobs of a run, and the folder of their files; None for a single file, or for none."""

    jobs: tuple[Job, ...]
    folder: Path | None = None


def plan(requested: Sequence[Path], to: OutputOptions, name: str, as_json: bool = False) -> Plan:
    """Return one job per picture; `name` is the last part of the files' names before the suffix.

    With `as_json` and no output, the results are only printed. Raises SeewhyError where a result
    could not be written.
    """
    suffix = to.suffix
    files = pictures_of(requested)
    if to.output is None and as_json:
        if to.resume:
            raise SeewhyError(
                "--resume needs files to resume from; name their folder with --output"
            )
        return Plan(tuple(Job(file, None) for file in files))
    if not is_several(files, requested) and (to.output is None or not to.output.is_dir()):
        if to.resume:
            raise SeewhyError("--resume needs a folder of results; name it with --output")
        path = to.output or names_in(Path(), files, name, suffix)[0]
        return Plan((Job(files[0], check_writable(check_suffix(path, SUFFIXES))),))
    folder = to.output or Path()
    if folder.suffix.lower() in SUFFIXES and not folder.is_dir():
        raise SeewhyError(
            f"{folder} is a single file, but there are several pictures; name a folder"
        )
    paths = names_in(make_folder(folder), files, name, suffix)
    check_writable(paths[0])
    jobs = (Job(file, path) for file, path in zip(files, paths, strict=True))
    return Plan(tuple(jobs), folder)


def pictures_of(requested: Sequence[Path]) -> list[Path]:
    """Return the picture files among files and in folders, each once; standard input is kept.

    In folders, results of earlier runs are skipped, such as the dog.grad-cam.png that
    `seewhy explain .` writes next to dog.jpg.
    """
    pictures = [
        file
        for path in requested
        # An empty file is reported when it is loaded, so that the others are still explained.
        for file in ([path] if path == STDIN or path.is_file() else find_pictures(path))
        if not (path.is_dir() and _is_result(file))
    ]
    if not pictures:
        raise SeewhyError(f"{requested[0]} holds only explanations; name a folder of pictures")
    return list({file.resolve(): file for file in reversed(pictures)}.values())[::-1]


def is_several(files: Sequence[Path], requested: Sequence[Path]) -> bool:
    """Return whether there are several pictures; a folder counts as several, whatever it holds."""
    return len(files) > 1 or any(path.is_dir() for path in requested)


def _is_result(file: Path) -> bool:
    made_by = Path(file.stem).suffix.lstrip(".")
    drawn = file.suffix in (".png", ".jpg")
    return drawn and (made_by in REGISTRY or made_by in FIGURES)
