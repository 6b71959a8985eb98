"""Standard streams that may be closed, full, or read by nobody any more.

While a command runs, whatever prints (the command, a library, the user's network) prints through
`Guarded`: a stream that cannot be written is noted and ignored, so the work goes on and files are
written. `seewhy.cli.printing.exit_status` makes it part of the exit status.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from seewhy.errors import SeewhyError


class Guarded:
    """A text stream whose errors do not reach those who write to it.

    - `abandoned`: its reader went away, as `head` does. - `failure`: why it cannot be written for
    another reason, or "".
    """

    def __init__(self, stream: TextIO | None):
        self._is_closed = stream is None or getattr(stream, "closed", False)
        if stream is None or self._is_closed:
            stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        self._stream = stream
        self.abandoned = False
        self.failure = ""

    def write(self, text: str) -> int:
        """Write the text, or note why that is not possible."""
        if self._is_closed:
            self.failure = "it is closed"
        elif not (self.abandoned or self.failure):
            try:
                self._stream.write(text)
            except (OSError, ValueError) as error:  # ValueError: the stream was closed
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or note why that is not possible."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        if isinstance(error, BrokenPipeError) or getattr(error, "errno", None) == errno.EPIPE:
            self.abandoned = True
        else:
            self.failure = self.failure or getattr(error, "strerror", None) or str(error)
        # What is still buffered goes nowhere, or Python's flush at exit would fail again.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def close_own(self) -> None:
        """Close what this object has opened."""
        if self._is_closed:
            self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def read_standard_input() -> bytes:
    """Return all bytes of standard input; raises `SeewhyError` if there can be none."""
    stream = sys.stdin
    if stream is None or stream.closed:
        raise SeewhyError("standard input is closed; name a picture file")
    if stream.isatty():
        raise SeewhyError("standard input is a terminal; pipe a picture into it, or name a file")
    try:
        return stream.buffer.read()
    except OSError as error:
        reason = error.strerror or error
        raise SeewhyError(f"cannot read standard input: {reason}; name a picture file") from error


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard standard output and standard error during the block."""
    _reserve_descriptors()
    before = sys.stdout, sys.stderr
    guards = [Guarded(stream) for stream in before]
    wrappers = [stream for stream in before if isinstance(stream, io.TextIOWrapper)]
    handlers = [(stream, stream.errors) for stream in wrappers if not stream.closed]
    for stream, _ in handlers:
        _reconfigure(stream, "backslashreplace")  # for terminals without Unicode
    sys.stdout, sys.stderr = guards  # type: ignore[assignment]
    try:
        yield
    finally:
        for guard in guards:
            guard.flush()
            guard.close_own()
        sys.stdout, sys.stderr = before
        for stream, errors in handlers:
            _reconfigure(stream, errors)


def _reconfigure(stream: io.TextIOWrapper, errors: str | None) -> None:
    with suppress(OSError, ValueError):  # it flushes first
        stream.reconfigure(errors=errors)


def _reserve_descriptors() -> None:
    """Occupy the descriptors of closed standard streams.

    Otherwise the next file that is opened would get the number, and messages that libraries in C
    write to standard error would go into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
