"""Where results go: file names, and folders that can be written before any work is done."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from seewhy.cli import STANDARD_INPUT
from seewhy.errors import SeewhyError, nearest
from seewhy.results import SUFFIXES
from seewhy.support.files import atomic_write


def check_suffix(path: Path, valid: Sequence[str]) -> Path:
    """`path` if its suffix is one of `valid`, before any work is done for it."""
    if path.suffix.lower() not in valid:
        near = nearest(path.suffix, valid, most=1)
        offer = f"; did you mean {near[0]}?" if near else ""
        raise SeewhyError(f"cannot write {path}: its name must end in {', '.join(valid)}{offer}")
    return path


def check_writable(path: Path) -> Path:
    """`path` if a file can be made there; tried out, since rights alone do not tell."""
    try:
        with atomic_write(path):
            raise _TriedOut  # so that nothing is written
    except _TriedOut:
        return path


class _TriedOut(Exception):
    pass


def _stem(picture: Path) -> str:
    return "stdin" if picture == STDIN else picture.stem


def names_in(folder: Path, pictures: Sequence[Path], method: str, suffix: str) -> list[Path]:
    """One file per picture in `folder`, such as dog.grad-cam.png.

    Where two dogs clash: dog.jpg.grad-cam.png, or with the folders above that tell them apart.
    """
    whole = [picture.absolute().parts for picture in pictures]
    names = [_stem(picture) for picture in pictures]
    for depth in range(1, max(map(len, whole)) + 1):
        clashing = {name for name, count in Counter(names).items() if count > 1}
        names = [
            "-".join(parts[-depth:]) if name in clashing else name
            for name, parts in zip(names, whole, strict=True)
        ]
    return [folder / f"{name}.{method}{suffix}" for name in names]


STDIN = Path(STANDARD_INPUT)  # as a picture to read
FIGURES = ("sufficiency", "channel-selectivity", "relevant-channels", "extremal-channels")


def figure_path(output: Path | None, asked: Sequence[Path], command: str) -> Path:
    """`output`, or where one figure of all pictures goes by default: dog.sufficiency.png here.

    Of several pictures: dog-and-2-more.sufficiency.png; of a folder: photos.sufficiency.png.
    """
    if output is None:
        first = asked[0].resolve().name if asked[0].is_dir() else _stem(asked[0])
        more = f"-and-{len(asked) - 1}-more" if len(asked) > 1 else ""
        output = Path(f"{first}{more}.{command}.png")
    return check_writable(check_suffix(output, SUFFIXES))


@contextmanager
def unless_left_empty(folder: Path | None) -> Iterator[None]:
    """A folder that the block makes goes again if nothing was put into it."""
    made_here = folder is not None and not folder.exists()
    try:
        yield
    finally:
        if folder is not None and made_here:
            with suppress(OSError):  # there is something in it, or it is a file
                folder.rmdir()


def make_folder(folder: Path) -> Path:
    """The folder, made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SeewhyError(
            f"cannot make the folder {folder}: {error.strerror or error}; name another"
        ) from error
    return folder
