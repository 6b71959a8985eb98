"""Signals and the width of the terminal, while a command runs."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STANDARD_STREAMS = (0, 1, 2)
NARROWEST, WIDEST = 40, 1000  # columns; help texts cannot be wrapped to nothing


class Stopped:
    """The signal that ended the command; until another one comes, that of Ctrl-C."""

    by = int(signal.SIGINT)


def stop_status() -> int:
    """Return the exit status after KeyboardInterrupt: 128 and the number of the signal."""
    return 128 + Stopped.by


@contextmanager
def signals_handled() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, so that they clean up too."""
    Stopped.by = int(signal.SIGINT)
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            # Where it is ignored, as under nohup, it stays so.
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    Stopped.by = number
    raise KeyboardInterrupt


@contextmanager
def sensible_width() -> Iterator[None]:
    """Correct COLUMNS and LINES, from which help texts and the progress bar take their size."""
    before = {name: os.environ.get(name) for name in ("COLUMNS", "LINES")}
    for name, value in before.items():
        if value is not None and not (value.isascii() and value.isdecimal()):
            del os.environ[name]
    width = _columns()
    if width is not None and not NARROWEST <= width <= WIDEST:
        os.environ["COLUMNS"] = str(min(max(width, NARROWEST), WIDEST))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _columns() -> int | None:
    """Return the width that is set, or that of the terminal; None if there is neither."""
    if columns := os.environ.get("COLUMNS", "")[:6]:
        return int(columns)
    for descriptor in STANDARD_STREAMS:
        with suppress(OSError, ValueError):
            return os.get_terminal_size(descriptor).columns or None  # 0: not known
    return None
