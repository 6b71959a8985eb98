"""The command line: the same functions as in Python, for a terminal.

    seewhy explain dog.jpg -m torchvision/resnet50 --method grad-cam -o dog.png
    seewhy compare dog.jpg -m timm/resnet18 --methods all -o report.html
    seewhy relevant-channels dog.jpg -m torchvision/resnet50 --layer layer3 -o channels.png
    seewhy methods | seewhy models | seewhy layers

The exit status is

    0      done
    1      an error in seewhy; a report file is written to attach to a bug report
    2      an error that the user can correct, in one line; or pictures were left out, each named
    130    interrupted by Ctrl-C, even while the libraries are being imported
    141    the reader of standard output went away, and nothing but the output was asked for
    143    terminated

If the reader of standard output goes away while files are written (`seewhy explain ... | head`),
the files are still written, and the status is that of the work. If standard output cannot be
written otherwise, as on a full disk, the status is 2. `--version` and the list of commands do not
import torch.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from seewhy.errors import SeewhyError
from seewhy.version import __version__

NARROWEST = 40  # columns of a terminal, at least
STANDARD_INPUT = "<stdin>"  # replaces "-", which cyclopts would read as an option


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals without Unicode
    _prepare_environment()
    words = [STANDARD_INPUT if word == "-" else word for word in given if word != "--debug"]
    sys.exit(_run(words, debug))


class Terminated(BaseException):
    """The process was asked to end (SIGTERM, SIGHUP); like Ctrl-C, it cleans up first."""


def _prepare_environment() -> None:
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # Not where it is ignored, as under nohup.
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _terminated)
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)  # help texts cannot be wrapped to nothing


def _terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _run(given: list[str], debug: bool) -> int:
    if given == ["--version"]:
        print(__version__)  # without importing cyclopts
        return 0
    from seewhy.cli.printing import begin, finished, warn

    try:
        Path.cwd()
        from seewhy.cli.app import app

        if given and not given[0].startswith("-") and given[0] in app:
            import seewhy.cli.libraries  # noqa: F401  first, because it calls gc.freeze
        begin()
        status = int(app(given, exit_on_error=False, print_error=False) or 0)
        return finished(status)
    except Terminated:
        return 143
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        status, line = _verdict(error)
        warn(line)
        finished(status)
        return status


def _verdict(error: BaseException) -> tuple[int, str]:
    """Return the exit status and the message for an error."""
    if isinstance(error, KeyboardInterrupt):
        return 130, f"interrupted; {error}" if str(error) else "interrupted"
    if isinstance(error, SeewhyError):
        return 2, str(error)
    if isinstance(error, FileNotFoundError) and not _has_folder():
        return 2, "the current folder has been deleted; change to another one"
    if isinstance(error, MemoryError):
        return 2, "out of memory; use smaller pictures or a smaller --batch-size"
    from cyclopts import CycloptsError

    from seewhy.cli.messages import sentence

    if isinstance(error, CycloptsError):
        return 2, sentence(error)
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return 2, "out of memory on the device; use a smaller --batch-size, or --device cpu"
    from seewhy.support.crash_report import write_crash_report

    report = write_crash_report(error, sys.argv[1:])
    attach = f", and attach {report}" if report else "; --debug shows the traceback"
    return 1, f"unexpected {type(error).__name__}: {error}; please report it{attach}"


def _has_folder() -> bool:
    with suppress(OSError):
        Path.cwd()
        return True
    return False
