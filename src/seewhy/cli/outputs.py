"""File names and folders for results, checked before any work is done."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from seewhy.cli import STANDARD_INPUT
from seewhy.errors import SeewhyError, nearest
from seewhy.results import SUFFIXES
from seewhy.support.files import atomic_write

STDIN = Path(STANDARD_INPUT)  # read a picture from standard input
FIGURES = (
    "sufficiency", "channel-selectivity", "relevant-channels", "extremal-channels",
    "visualization", "inversion", "inpainted",
    "examples",
)  # fmt: skip
LONGEST = 255  # bytes of a file name, in most file systems
RESERVED = {"con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(10))}


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


def names_in(folder: Path, pictures: Sequence[Path], method: str, suffix: str) -> list[Path]:
    """Return one file name per picture directly in `folder`, such as dog.grad-cam.png.

    Equal names become dog.jpg.grad-cam.png, or get as many parent folders as make them unique;
    names that differ only by case or by Unicode normalisation count as equal. Too long names are
    cut, and end in a hash.
    """
    ending = f".{method}{suffix}"
    all_parts = [_parts(picture) for picture in pictures]
    names = [_stem(picture) for picture in pictures]
    for depth in range(1, max(map(len, all_parts)) + 1):
        clashing = _repeated(names)
        names = [
            "-".join(parts[-depth:]) if _folded(name) in clashing else name
            for name, parts in zip(names, all_parts, strict=True)
        ]
    names = [_bounded(name, ending, p) for name, p in zip(names, pictures, strict=True)]
    for _ in range(2):  # a name with a hash could be that of another picture
        clashing = _repeated(names)
        names = [
            _bounded(f"{name}-{_hash(p)}", ending, p) if _folded(name) in clashing else name
            for name, p in zip(names, pictures, strict=True)
        ]
    paths = [folder / f"{name}{ending}" for name in names]
    if _repeated(names) or any(path.parent != folder for path in paths):
        raise SeewhyError("the pictures' names cannot be told apart; rename some of them")
    return paths


def _stem(picture: Path) -> str:
    return "stdin" if picture == STDIN else _harmless(picture.stem)


def _parts(picture: Path) -> list[str]:
    """Return the parts of the path, without the root and without "..", as parts of a name."""
    parts = picture.absolute().parts[1:]
    return [_harmless(part) for part in parts if part != ".."]


def _harmless(part: str) -> str:
    """Return a part of a path without characters that mean something to a file system."""
    characters = (c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in part)
    return "".join(characters).lstrip(".") or "_"


def harmless_name(text: str) -> str:
    """Return any text as the first part of a file name."""
    return _bounded(_harmless(text.replace(" ", "_")), ".visualization.safetensors", Path(text))


def _bounded(name: str, ending: str, picture: Path) -> str:
    """Return the name, cut at the front and with a hash of the whole path if it is too long."""
    if name.casefold().partition(".")[0] in RESERVED:
        name = f"_{name}"
    room = LONGEST - len(ending.encode())
    if len(name.encode()) <= room:
        return name
    mark = f"-{_hash(picture)}"
    cut = name.encode()[: room - len(mark)].decode(errors="ignore")
    return cut + mark


def _hash(picture: Path) -> str:
    return hashlib.sha256(str(picture.absolute()).encode(errors="surrogatepass")).hexdigest()[:10]


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(map(_folded, names)).items() if count > 1}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def figure_path(
    output: Path | None, requested: Sequence[Path], command: str, suffix: str = ".png"
) -> Path:
    """Return `output`, or the default for one figure of all pictures: dog.sufficiency.png.

    The default for several pictures is dog-and-2-more.sufficiency.png, for a folder
    photos.sufficiency.png.
    """
    if output is None:
        picture = requested[0]
        first = _harmless(picture.resolve().name) if picture.is_dir() else _stem(picture)
        more = f"-and-{len(requested) - 1}-more" if len(requested) > 1 else ""
        ending = f".{command}{suffix}"
        output = Path(_bounded(f"{first}{more}", ending, picture) + ending)
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
