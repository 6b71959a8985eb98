"""The jobs of `seewhy explain`: the output file for each picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seewhy.attribution.method import REGISTRY
from seewhy.cli.outputs import FIGURES, STDIN, check_suffix, check_writable, make_folder, names_in
from seewhy.errors import SeewhyError
from seewhy.images import find_pictures
from seewhy.results import SUFFIXES


@dataclass(frozen=True)
class Job:
    """A picture and the file for its explanation, or None if the explanation is only printed."""

    picture: Path
    path: Path | None

    @property
    def done(self) -> bool:
        """Whether the file exists; files are written completely or not at all."""
        return self.path is not None and self.path.exists()


def plan(requested: Sequence[Path], output: Path | None, method: str, suffix: str) -> list[Job]:
    """Return one job per picture; raises SeewhyError where a result could not be written."""
    suffix = f".{suffix.lstrip('.')}"
    if suffix not in SUFFIXES:
        valid = ", ".join(s.lstrip(".") for s in SUFFIXES)
        raise SeewhyError(f"--format must be one of {valid}, not {suffix.lstrip('.')!r}")
    files = pictures_of(requested)
    if not _several(files, requested) and (output is None or not output.is_dir()):
        path = output or names_in(Path(), files, method, suffix)[0]
        return [Job(files[0], check_writable(check_suffix(path, SUFFIXES)))]
    folder = output or Path()
    if folder.suffix.lower() in SUFFIXES:
        raise SeewhyError(
            f"{folder} is a single file, but there are several pictures; name a folder"
        )
    paths = names_in(make_folder(folder), files, method, suffix)
    check_writable(paths[0])
    return [Job(file, path) for file, path in zip(files, paths, strict=True)]


def pictures_of(requested: Sequence[Path]) -> list[Path]:
    """Return the picture files among files and in folders, each once; standard input is kept.

    In folders, explanations of earlier runs are skipped, such as the dog.grad-cam.png that
    `seewhy explain .` writes next to dog.jpg.
    """
    pictures = [
        file
        for path in requested
        # An empty file is reported when it is loaded, so that the others are still explained.
        for file in ([path] if path == STDIN or path.is_file() else find_pictures(path))
        if not (path.is_dir() and _is_explanation(file))
    ]
    if not pictures:
        raise SeewhyError(f"{requested[0]} holds only explanations; name a folder of pictures")
    return list({file.resolve(): file for file in reversed(pictures)}.values())[::-1]


def _several(files: Sequence[Path], requested: Sequence[Path]) -> bool:
    """Return whether there are several pictures; a folder counts as several, whatever it holds."""
    return len(files) > 1 or any(path.is_dir() for path in requested)


def _is_explanation(file: Path) -> bool:
    made_by = Path(file.stem).suffix.lstrip(".")
    return file.suffix == ".png" and (made_by in REGISTRY or made_by in FIGURES)
