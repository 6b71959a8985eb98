"""Find picture files, with clear error messages for missing ones."""

import os
from collections.abc import Sequence
from pathlib import Path

from seewhy.errors import SeewhyError, nearest

PathLike = str | os.PathLike[str]

SUFFIXES = {".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm"}
SUFFIXES |= {".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"}


def find_pictures(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """Return the picture files for one or several paths, in the given order.

    A file is returned as it is, whatever its suffix. A folder is replaced by the pictures directly
    inside it, sorted by name, without hidden files.

    Raises `SeewhyError` if a path does not exist or a folder contains no picture.
    """
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [file for path in several for file in _expand(Path(path))]


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [require_file(path, "picture")]
    files = pictures_in(path)
    if not files:
        raise SeewhyError(f"{path} holds no picture; expected files such as .jpg, .png or .webp")
    return files


def pictures_in(folder: Path) -> list[Path]:
    """Return the visible picture files directly in `folder`, by suffix, sorted by name."""
    return sorted(
        file
        for file in _listed(folder)
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def require_file(path: Path, kind: str) -> Path:
    """Return `path` if it is a readable file that is not empty; `kind` is used in messages.

    Raises `SeewhyError` if it is missing, a folder, unreadable or empty.
    """
    if "://" in str(path) or str(path).startswith(("http:/", "https:/")):
        raise SeewhyError(f"{path} is a web address; download the file and give its path")
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
    """Return the file names in the folder of `path` that are most similar to its name."""
    return nearest(path.name, (file.name for file in _listed(path.parent)))


def _missing(path: Path, kind: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"no permission to read {path}; change its permissions or give another {kind} file"
    if not path.parent.is_dir():
        return f"no {kind} file {path}: there is no folder {path.parent}; check the path"
    similar = nearby(path)
    advice = f"did you mean {', '.join(similar)}?" if similar else "check the name"
    return f"no {kind} file {path}; {advice}"


def _example(folder: Path, kind: str) -> str:
    files = pictures_in(folder) if kind == "picture" else []
    return f", such as {files[0]}" if files else ""


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
