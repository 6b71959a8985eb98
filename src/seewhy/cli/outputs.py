"""File names and folders for results, checked before any work is done."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from seewhy.cli import STANDARD_INPUT
from seewhy.errors import SeewhyError, nearest
from seewhy.results import SUFFIXES
from seewhy.support.files import atomic_write


def check_suffix(path: Path, valid: Sequence[str]) -> Path:
    """Return `path` if its suffix is one of `valid`; raises SeewhyError otherwise."""
    if path.suffix.lower() not in valid:
        near = nearest(path.suffix, valid, most=1)
        offer = f"; did you mean {near[0]}?" if near else ""
        raise SeewhyError(f"cannot write {path}: its name must end in {', '.join(valid)}{offer}")
    return path


def check_writable(path: Path) -> Path:
    """Return `path` if a file can be written there, tested by writing; permissions can mislead."""
    try:
        with atomic_write(path):
            raise _Writable  # discards the temporary file
    except _Writable:
        return path


class _Writable(Exception):
    pass


def _stem(picture: Path) -> str:
    return "stdin" if picture == STDIN else picture.stem


def names_in(folder: Path, pictures: Sequence[Path], method: str, suffix: str) -> list[Path]:
    """Return one file name per picture in `folder`, such as dog.grad-cam.png.

    Equal names become dog.jpg.grad-cam.png, or get as many parent folders as make them unique.
    """
    all_parts = [picture.absolute().parts for picture in pictures]
    names = [_stem(picture) for picture in pictures]
    for depth in range(1, max(map(len, all_parts)) + 1):
        clashing = {name for name, count in Counter(names).items() if count > 1}
        names = [
            "-".join(parts[-depth:]) if name in clashing else name
            for name, parts in zip(names, all_parts, strict=True)
        ]
    return [folder / f"{name}.{method}{suffix}" for name in names]


STDIN = Path(STANDARD_INPUT)  # read a picture from standard input
FIGURES = ("sufficiency", "channel-selectivity", "relevant-channels", "extremal-channels")


def figure_path(output: Path | None, requested: Sequence[Path], command: str) -> Path:
    """Return `output`, or the default for one figure of all pictures: dog.sufficiency.png.

    The default for several pictures is dog-and-2-more.sufficiency.png, for a folder
    photos.sufficiency.png.
    """
    if output is None:
        picture = requested[0]
        first = picture.resolve().name if picture.is_dir() else _stem(picture)
        more = f"-and-{len(requested) - 1}-more" if len(requested) > 1 else ""
        output = Path(f"{first}{more}.{command}.png")
    return check_writable(check_suffix(output, SUFFIXES))


@contextmanager
def unless_left_empty(folder: Path | None) -> Iterator[None]:
    """Remove the folder at the end if the block created it and left it empty."""
    is_new = folder is not None and not folder.exists()
    try:
        yield
    finally:
        if folder is not None and is_new:
            with suppress(OSError):  # not empty, or a file
                folder.rmdir()


def make_folder(folder: Path) -> Path:
    """Create the folder if needed, and return it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SeewhyError(
            f"cannot create the folder {folder}: {error.strerror or error}; name another"
        ) from error
    return folder
