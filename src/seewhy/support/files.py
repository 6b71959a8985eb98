"""Write files atomically: a file is either complete or not written."""

import errno
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from seewhy.errors import SeewhyError

ADVICE = {
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOSPC: "free some space, or name a folder on another disk",
    getattr(errno, "EDQUOT", -1): "your quota is used up; free some space",
    errno.EROFS: "the disk is read-only; name a folder on another one",
}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` when the block succeeds.

    If the block raises, `path` is unchanged and the temporary file is deleted.

    Raises `SeewhyError` if the folder is missing, `path` is a folder, or writing fails.
    """
    path = Path(path)
    _check_place(path)
    temporary = path.parent / f".seewhy-{os.getpid()}-{secrets.token_hex(8)}.tmp"
    try:
        # Not made by `tempfile`, so that the file gets the permissions of the user's umask.
        temporary.touch(exist_ok=False)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        # The folder may have become read-only; that must not hide the error above.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_place(path: Path) -> None:
    try:
        os.fsencode(path)
        if not path.parent.is_dir():
            raise SeewhyError(
                f"cannot write {path}: there is no folder {path.parent}; create it or name another"
            )
        if path.is_dir():
            raise SeewhyError(f"cannot write {path}: it is a folder; name a file in it instead")
        path.lstat()  # refuses a null byte, which is_dir() takes for a name
    except FileNotFoundError:
        return
    except OSError as error:  # such as a name that is too long
        raise _cannot_write(path, error) from error
    except ValueError as error:  # a null byte, or a character that file names cannot have
        raise SeewhyError(f"cannot write {path}: no file can have this name; change it") from error


def _cannot_write(path: Path, error: OSError) -> SeewhyError:
    advice = ADVICE.get(error.errno or 0, "check the folder's permissions and free space")
    return SeewhyError(f"cannot write {path}: {error.strerror or error}; {advice}")


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of processes that were killed while they wrote into the folder."""
    for temporary in folder.glob(".seewhy-*.tmp"):
        process = temporary.name.split("-")[1]
        if process.isdecimal() and not _is_running(int(process)):
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` atomically (see `atomic_write`)."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_by_suffix(path: str | Path, contents: Mapping[str, Callable[[], bytes]]) -> Path:
    """Write the content for the path's suffix atomically, and return the path.

    `contents` maps each suffix to a function that makes the bytes. Raises `SeewhyError` for any
    other suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in contents:
        raise SeewhyError(
            f"{path}: expected a file name that ends in {', '.join(contents)}; "
            f"got {suffix or 'no suffix'!r}"
        )
    write_bytes(path, contents[suffix]())
    return Path(path)
