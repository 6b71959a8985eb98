"""Files are written whole or not at all."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from seewhy.errors import SeewhyError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well.

    When the block raises, `path` is as it was before and the temporary file is gone.

    Raises `SeewhyError` where the folder is missing, `path` is a folder, or the disk refuses.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise SeewhyError(
            f"cannot write {path}: there is no folder {path.parent}; make it, or name another"
        )
    if path.is_dir():
        raise SeewhyError(f"cannot write {path}: it is a folder; name a file in it")
    temporary = path.parent / f".seewhy-{secrets.token_hex(8)}.tmp"
    try:
        # Opened, not made by `tempfile`: the file gets the rights that the user's umask gives.
        temporary.touch(exist_ok=False)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise SeewhyError(
            f"cannot write {path}: {error.strerror or error}; check its folder's rights and space"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_by_suffix(path: str | Path, contents: Mapping[str, Callable[[], bytes]]) -> Path:
    """Write what the path's suffix asks for, whole or not at all; gives back the path.

    Raises `SeewhyError` for a suffix that is not among those of `contents`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in contents:
        raise SeewhyError(
            f"{path}: expected a name that ends in {', '.join(contents)}; "
            f"came {suffix or 'no suffix'!r}"
        )
    write_bytes(path, contents[suffix]())
    return Path(path)
