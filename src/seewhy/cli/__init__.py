"""The command line: the same functions as in Python, for a terminal.

    seewhy explain dog.jpg -m torchvision/resnet50 --method grad-cam -o dog.png
    seewhy compare dog.jpg -m timm/resnet18 --methods all -o report.html
    seewhy relevant-channels dog.jpg -m torchvision/resnet50 --layer layer3 -o channels.png
    seewhy methods | seewhy models | seewhy layers

The exit status is

    0      done
    1      an error in seewhy, with a file to attach to a report; or `check` found a difference
    2      an error that the user can correct, in one line; or pictures were left out, each named;
           or standard output could not be written, as on a full disk
    129    the terminal was closed (SIGHUP)
    130    interrupted by Ctrl-C, even while the libraries are being imported
    141    the reader of standard output went away, and no file was written
    143    terminated (SIGTERM)

If the reader of standard output goes away (`seewhy explain ... | head`), the work goes on; if it
writes files, they are written and the status is that of the work. `--version` and the list of
commands do not import torch.
"""

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from seewhy.cli.printing import begin, exit_status, warn
from seewhy.cli.process import sensible_width, signals_handled, stop_status
from seewhy.cli.streams import guarded_streams
from seewhy.errors import SeewhyError
from seewhy.version import __version__

STANDARD_INPUT = "<stdin>"  # replaces "-", which cyclopts would read as an option

# Errors of the system that the user can mend, wherever they occur.
SYSTEM = {
    *(errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC),
    *(errno.EPERM, errno.EROFS, getattr(errno, "EDQUOT", None), getattr(errno, "ESTALE", None)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with guarded_streams(), sensible_width():
        status = _run(given, debug="--debug" in given)
    sys.exit(status)


def _run(given: list[str], debug: bool) -> int:
    words = [STANDARD_INPUT if word == "-" else word for word in given if word != "--debug"]
    begin()
    try:
        with signals_handled():
            return exit_status(_status(words))
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        status, line = _verdict(error, given)
        warn(line)
        return exit_status(status)


def _status(words: list[str]) -> int:
    if words == ["--version"]:
        print(__version__)  # without importing cyclopts
        return 0
    Path.cwd()  # raises if the folder has been deleted
    from seewhy.cli.app import app

    if words and not words[0].startswith("-") and words[0] in app:
        import seewhy.cli.libraries  # noqa: F401  first, because it calls gc.freeze
    return int(app(words, exit_on_error=False, print_error=False) or 0)


def _verdict(error: BaseException, given: Sequence[str]) -> tuple[int, str]:
    """Return the exit status and the message for an error."""
    if isinstance(error, KeyboardInterrupt):
        word = "interrupted" if stop_status() == 130 else "terminated"
        return stop_status(), f"{word}; {error}" if str(error) else word
    if isinstance(error, SeewhyError):
        return 2, str(error)
    if isinstance(error, OSError):
        if isinstance(error, FileNotFoundError) and not _has_folder():
            return 2, "the current folder has been deleted; change to another one"
        if error.errno in SYSTEM:
            where = f" ({error.filename})" if error.filename else ""
            return 2, f"the system reports: {error.strerror}{where}; --debug shows the traceback"
    if isinstance(error, MemoryError):
        return 2, "out of memory; use smaller pictures or a smaller --batch-size"
    if isinstance(error, RecursionError):
        return 2, "the network or an argument is nested too deeply; --debug shows where"
    from cyclopts import CycloptsError

    from seewhy.cli.messages import sentence

    if isinstance(error, CycloptsError):
        return 2, sentence(error)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return 2, "out of memory on the device; use a smaller --batch-size, or --device cpu"
    from seewhy.support.crash_report import write_crash_report

    report = write_crash_report(error, given)
    attach = f", and attach {report}" if report else "; --debug shows the traceback"
    return 1, f"unexpected {_text(error)}; please report it{attach}"


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # the error cannot be printed
        return type(error).__name__


def _has_folder() -> bool:
    with suppress(OSError):
        Path.cwd()
        return True
    return False
