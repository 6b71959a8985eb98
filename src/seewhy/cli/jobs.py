"""What `seewhy explain` is going to do: which picture's explanation goes to which file."""

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
    """A picture and the file that its explanation goes to; None: only shown."""

    picture: Path
    path: Path | None

    @property
    def done(self) -> bool:
        """Whether its file is there; files are written whole or not at all."""
        return self.path is not None and self.path.exists()


def plan(asked: Sequence[Path], output: Path | None, method: str, suffix: str) -> list[Job]:
    """One job per picture; refuses before any work what could not be written after it."""
    suffix = f".{suffix.lstrip('.')}"
    if suffix not in SUFFIXES:
        valid = ", ".join(s.lstrip(".") for s in SUFFIXES)
        raise SeewhyError(f"--format is one of {valid}, not {suffix.lstrip('.')!r}")
    files = pictures_of(asked)
    if not _several(files, asked) and (output is None or not output.is_dir()):
        path = output or names_in(Path(), files, method, suffix)[0]
        return [Job(files[0], check_writable(check_suffix(path, SUFFIXES)))]
    folder = output or Path()
    if folder.suffix.lower() in SUFFIXES:
        raise SeewhyError(f"{folder} is one file for several pictures; name a folder")
    paths = names_in(make_folder(folder), files, method, suffix)
    check_writable(paths[0])
    return [Job(file, path) for file, path in zip(files, paths, strict=True)]


def pictures_of(asked: Sequence[Path]) -> list[Path]:
    """The pictures that files and folders stand for, each once, without earlier explanations.

    Standard input stays as it is.

    `seewhy explain .` writes dog.grad-cam.png beside dog.jpg; the next run is not about those.
    """
    found = [
        file
        for path in asked
        # A file that is there but empty is found out when it is loaded, and the others go on.
        for file in ([path] if path == STDIN or path.is_file() else find_pictures(path))
        if not (path.is_dir() and _is_explanation(file))
    ]
    if not found:
        raise SeewhyError(f"{asked[0]} holds only explanations; name a folder of pictures")
    return list({file.resolve(): file for file in reversed(found)}.values())[::-1]


def _several(files: Sequence[Path], asked: Sequence[Path]) -> bool:
    """A folder stands for several pictures, also if it holds one now."""
    return len(files) > 1 or any(path.is_dir() for path in asked)


def _is_explanation(file: Path) -> bool:
    made_by = Path(file.stem).suffix.lstrip(".")
    return file.suffix == ".png" and (made_by in REGISTRY or made_by in FIGURES)
