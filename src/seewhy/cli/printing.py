"""Print for a terminal: all output of the command line goes through here.

If the reader of standard output goes away, as `head` does, nothing more is printed, but the work
goes on, and files are written. If standard output or standard error cannot be written for another
reason (a full disk, a closed stream), the exit status says so; see `seewhy.cli`.
"""

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any, TextIO

from seewhy.support.printable import printable


@dataclass
class State:
    """What became of standard output: `left`: its reader went away; `failed`: why it failed.

    `files`: whether files were written, too.
    """

    left: bool = False
    files: bool = False
    failed: str = ""


state = State()


def begin() -> None:
    """Forget what became of standard output in an earlier command."""
    state.left, state.files, state.failed = False, False, ""


def finished(status: int) -> int:
    """Return the exit status of a command, after all output is written."""
    try:
        if sys.stdout is not None and not (state.left or state.failed):
            sys.stdout.flush()  # what libraries have printed, such as help texts
    except BrokenPipeError:
        state.left = True
        _discard(sys.stdout)
    except (OSError, ValueError) as error:
        state.failed = getattr(error, "strerror", None) or str(error)
        _discard(sys.stdout)
    if state.failed:
        warn(f"cannot write to standard output: {state.failed}")
        return status or 2
    return (status or 141) if state.left and not state.files else status


def wrote_file() -> None:
    """Note that a file was written, so that a reader who went away has missed only the text."""
    state.files = True


def say(text: str) -> None:
    """Print text of one or several lines on standard output."""
    _write(f"{printable(text, keep=chr(10))}\n")


def say_json(data: Any) -> None:
    """Print data as JSON on standard output."""
    _write(f"{as_json(data)}\n")


def as_json(data: Any) -> str:
    """Return data as JSON that standard output can encode, whatever its encoding."""
    try:
        text = json.dumps(data, ensure_ascii=False, indent=2)
        text = "".join(c if c == "\n" or printable(c) == c else _escaped(c) for c in text)
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return json.dumps(data, ensure_ascii=True, indent=2)
    return text


def _escaped(character: str) -> str:
    return json.dumps(character, ensure_ascii=True)[1:-1]


class JsonList:
    """A list in JSON that is printed item by item, so that no item has to be kept."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, item: Any) -> None:
        """Print the next item."""
        lines = as_json(item).replace("\n", "\n  ")
        _write(("," if self._count else "[") + f"\n  {lines}")
        self._count += 1

    def close(self) -> None:
        """Print the end of the list."""
        _write("\n]\n" if self._count else "[]\n")


def warn(text: str) -> None:
    """Print a line on standard error, after the name of the program."""
    try:
        if sys.stderr is not None:
            print(f"seewhy: {printable(' '.join(text.split()))}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass  # there is nowhere left to say it; the exit status does


def _write(text: str) -> None:
    if state.left or state.failed:
        return
    stream = sys.stdout
    if stream is None:
        state.failed = "it is closed"
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        state.left = True
        _discard(stream)
    except (OSError, ValueError) as error:  # ValueError: the stream was closed
        state.failed = getattr(error, "strerror", None) or str(error)
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """Let what Python flushes at the end go nowhere, instead of failing again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
