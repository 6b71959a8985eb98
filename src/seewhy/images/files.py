"""Find picture files, and say clearly why one is not there."""

import os
from collections.abc import Sequence
from pathlib import Path

from seewhy.errors import SeewhyError, nearest

PathLike = str | os.PathLike[str]

SUFFIXES = {".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm"}
SUFFIXES |= {".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"}


def find_pictures(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """The picture files that one or several paths stand for, in the order given.

    A file stands for itself, whatever its suffix. A folder stands for the pictures directly
    inside it, sorted by name; hidden files are left out.

    Raises `SeewhyError` when a path does not exist or a folder holds no picture.
    """
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [found for path in several for found in _expand(Path(path))]


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [require_file(path, "picture")]
    found = pictures_in(path)
    if not found:
        raise SeewhyError(f"{path} holds no picture; expected files such as .jpg, .png or .webp")
    return found


def pictures_in(folder: Path) -> list[Path]:
    """The visible files directly in `folder` whose suffix is a picture's, sorted by name."""
    return sorted(
        file
        for file in _listed(folder)
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def require_file(path: Path, kind: str) -> Path:
    """`path`, if it is a file with something in it; `kind` names what it should be.

    Raises `SeewhyError` when it is missing, a folder, unreadable or empty.
    """
    if "://" in str(path) or str(path).startswith(("http:/", "https:/")):
        raise SeewhyError(f"{path} is an address; download it and give the file")
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise SeewhyError(_missing(path, kind, error)) from None
    if path.is_dir():
        raise SeewhyError(f"{path} is a folder; give a {kind} file" + _example(path, kind))
    if size == 0:
        raise SeewhyError(f"{path} is empty (0 bytes); give a complete {kind} file")
    return path


def nearby(path: Path) -> list[str]:
    """The names in the folder of `path` that are closest to the name of `path`."""
    return nearest(path.name, (file.name for file in _listed(path.parent)))


def _missing(path: Path, kind: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"no permission to read {path}; change its permissions or give another {kind} file"
    if not path.parent.is_dir():
        return f"no {kind} file {path}: there is no folder {path.parent}; check the path"
    offer = nearby(path)
    way_out = f"did you mean {', '.join(offer)}?" if offer else "check the name"
    return f"no {kind} file {path}; {way_out}"


def _example(folder: Path, kind: str) -> str:
    found = pictures_in(folder) if kind == "picture" else []
    return f", such as {found[0]}" if found else ""


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
