"""Where results go: file names, and folders that can be written before any work is done."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from seewhy.errors import SeewhyError, nearest
from seewhy.writing import atomic_write


def check_suffix(path: Path, valid: Sequence[str]) -> Path:
    """`path` if its suffix is one of `valid`, before any work is done for it."""
    if path.suffix.lower() not in valid:
        near = nearest(path.suffix, valid, most=1)
        offer = f"; did you mean {near[0]}?" if near else ""
        raise SeewhyError(f"cannot write {path}: its name must end in {', '.join(valid)}{offer}")
    return path


def check_writable(path: Path) -> Path:
    """`path` if a file can be made there; tried out, since rights alone do not tell."""
    if path.is_dir():
        raise SeewhyError(f"cannot write {path}: it is a folder; name a file in it")
    trial = path.with_name(f".{path.name}.trial")
    with atomic_write(trial):
        pass
    trial.unlink()
    return path


def names_in(folder: Path, pictures: Sequence[Path], method: str, suffix: str) -> list[Path]:
    """One file per picture in `folder`: dog.grad-cam.png; dog.jpg.grad-cam.png where two clash."""
    stems = Counter(picture.stem for picture in pictures)
    names = [p.stem if stems[p.stem] == 1 else p.name for p in pictures]
    clashing = Counter(names)
    unique = [
        name if clashing[name] == 1 else f"{picture.parent.name}-{name}"
        for name, picture in zip(names, pictures, strict=True)
    ]
    return [folder / f"{name}.{method}{suffix}" for name in unique]


def make_folder(folder: Path) -> Path:
    """The folder, made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SeewhyError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    return folder
