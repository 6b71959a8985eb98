"""The manifest of a folder of results: what made each file, so that a run can be resumed.

`seewhy-manifest.jsonl` has one line of JSON per fact and only grows:

    {"id": "3f2a...", "settings": {"method": "grad-cam", "weights": "9b1c...", ...}}
    {"file": "dog.grad-cam.png", "picture": "photos/dog.jpg", "picture_sha256": "...",
     "settings": "3f2a...", "bytes": 48213, "sha256": "..."}

A line is written after its file is complete, so a run that is killed loses at most the line of its
last file. One run at a time writes into a folder: it holds the lock `.seewhy.lock`, which the
system releases when the process ends, however it ends.
"""

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from seewhy.errors import SeewhyError
from seewhy.support.files import remove_leftovers

NAME = "seewhy-manifest.jsonl"
LOCK = ".seewhy.lock"
NO_RECORD = "there is no record of what made it"


@dataclass(frozen=True)
class Record:
    """A line about a file of results."""

    file: str
    picture: str
    picture_sha256: str
    settings: str
    bytes: int
    sha256: str


class Manifest:
    """The manifest of one folder, open for one run with the given settings.

    - `settings`: everything that the results depend on, apart from the picture; JSON values.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))
        self._id = _identity(self.settings)
        self._known: dict[str, Mapping[str, Any]] = {}
        self._records: dict[str, Record] = {}
        self._ends_whole = True
        self._read()

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, settings: Mapping[str, Any]) -> Iterator[Self]:
        """Hold the folder's lock while the block runs.

        Raises SeewhyError if another run holds it, or if the folder cannot be written to.
        """
        with _locked(folder):
            remove_leftovers(folder)
            yield cls(folder, settings)

    def why_not_done(self, path: Path, picture_sha256: str) -> str:
        """Return why a file has to be made again, as in "the picture changed"; "" if it has not.

        `picture_sha256`: the hash of the picture's file now; "" if it is not known.
        """
        record = self._records.get(path.name)
        if not path.exists():
            return "it is missing" if record else "it is new"
        if record is None:
            return NO_RECORD
        if record.settings != self._id:
            return _difference(self._known.get(record.settings, {}), self.settings)
        if not picture_sha256 or record.picture_sha256 != picture_sha256:
            return "the picture changed"
        if path.stat().st_size != record.bytes or sha256_of(path) != record.sha256:
            return "the file is damaged"
        return ""

    def add(self, path: Path, picture: str, picture_sha256: str) -> None:
        """Record a file that is complete."""
        record = Record(
            path.name, picture, picture_sha256, self._id, path.stat().st_size, sha256_of(path)
        )
        lines: list[Mapping[str, Any]] = [vars(record)]
        if self._id not in self._known:
            lines.insert(0, {"id": self._id, "settings": self.settings})
        self._append(lines)
        self._known[self._id], self._records[path.name] = self.settings, record

    def _read(self) -> None:
        path = self.folder / NAME
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            self._ends_whole = content.endswith(b"\n") or not content
            for line in content.splitlines():
                # The last line is torn if the run was killed, and an editor may have been at work.
                with suppress(ValueError, TypeError, KeyError, RecursionError):
                    self._take(json.loads(line))

    def _take(self, line: Any) -> None:
        if "id" in line:
            self._known[str(line["id"])] = dict(line["settings"])
        else:
            record = Record(**line)
            self._records[str(record.file)] = record

    def _append(self, lines: list[Mapping[str, Any]]) -> None:
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        path = self.folder / NAME
        try:
            with path.open("ab") as stream:
                stream.write((b"" if self._ends_whole else b"\n") + text.encode())
        except OSError as error:
            raise SeewhyError(
                f"cannot write {path}: {error.strerror or error}; check the folder's permissions "
                "and free space"
            ) from error
        self._ends_whole = True


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; "" if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def _identity(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return which settings differ, as in "made with different weights, layer"."""
    names = [name for name in now if before.get(name) != now[name]]
    return f"made with different {', '.join(names)}" if before else NO_RECORD


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path, owner = folder / LOCK, folder / f"{LOCK}.owner"
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise SeewhyError(
            f"another run is writing into {folder}{_named(owner)}; wait for it, or name another "
            "folder"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise SeewhyError(
            f"cannot write into {folder}: {getattr(error, 'strerror', None) or error}; name a "
            "folder that can be written to and locked"
        ) from error
    try:
        with suppress(OSError, ValueError):
            text = f"process {os.getpid()} on {socket.gethostname()}"
            owner.write_text(text, encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
        # The file of the lock stays: a run that opened it just before it was removed would lock a
        # file without a name, while the next one creates and locks another.
        lock.release()


def _named(owner: Path) -> str:
    try:
        return f" ({owner.read_text(encoding='utf-8')[:100]})"
    except (OSError, UnicodeDecodeError):
        return ""
