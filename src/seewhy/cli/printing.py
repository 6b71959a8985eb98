"""Print for a terminal: all output of the command line goes through here.

Names and texts are escaped, see `seewhy.support.printable`. Streams that cannot be written are
handled in `seewhy.cli.streams`.
"""

import json
import sys
from typing import Any

from seewhy.cli.streams import Guarded
from seewhy.support.printable import printable

LONGEST = 2_000  # characters of a line on standard error; a name may have any length


class Written:
    """Whether the command has written files, besides what it printed."""

    files = False


def begin() -> None:
    """Forget the files of an earlier command."""
    Written.files = False


def wrote_file() -> None:
    """Note that a file was written: a reader of standard output who leaves misses only text."""
    Written.files = True


def exit_status(status: int) -> int:
    """Return the exit status of a command, given what became of standard output."""
    out = sys.stdout
    if not isinstance(out, Guarded):
        return status
    out.flush()
    if out.failure:
        warn(f"cannot write to standard output: {out.failure}")
        return status or 2
    return (status or 141) if out.abandoned and not Written.files else status


def say(text: str) -> None:
    """Print text of one or several lines on standard output."""
    print(printable(text, keep="\n"), flush=True)


def warn(text: str) -> None:
    """Print a line on standard error, after the name of the program."""
    line = " ".join(text.split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
    print(f"seewhy: {printable(line)}", file=sys.stderr, flush=True)


def say_json(data: Any) -> None:
    """Print data as JSON on standard output."""
    print(as_json(data), flush=True)


class JsonList:
    """A list in JSON that is printed item by item, so that no item has to be kept."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, item: Any) -> None:
        """Print the next item."""
        lines = as_json(item).replace("\n", "\n  ")
        print("," if self._count else "[", lines, sep="\n  ", end="", flush=True)
        self._count += 1

    def close(self) -> None:
        """Print the end of the list."""
        print("\n]" if self._count else "[]", flush=True)


def as_json(data: Any) -> str:
    """Return data as JSON that is safe on a terminal and that standard output can encode."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    text = printable(text, keep="\n", escape=_json_escape)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        # Shift JIS writes the yen sign as the backslash, which would begin an escape.
        readable = text.encode(encoding).decode(encoding) == text
    except (UnicodeError, LookupError):
        readable = False
    return text if readable else json.dumps(data, indent=2)


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
