"""The command line: the same functions as in Python, for a terminal.

    seewhy explain dog.jpg -m torchvision/resnet50 --method grad-cam -o dog.png
    seewhy compare dog.jpg -m timm/resnet18 --methods all -o report.html
    seewhy relevant-channels dog.jpg -m torchvision/resnet50 --layer layer3 -o channels.png
    seewhy methods | seewhy models | seewhy layers

Errors that the user can correct end in one line and exit status 2. Ctrl-C ends with status 130,
even while the libraries are being imported, which is why `_run` imports them. `--version` and the
list of commands do not import torch.
"""

import io
import os
import sys
from collections.abc import Sequence

from seewhy.errors import SeewhyError
from seewhy.version import __version__

STANDARD_INPUT = "<stdin>"  # replaces "-", which cyclopts would read as an option


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals without Unicode
    words = [STANDARD_INPUT if word == "-" else word for word in given if word != "--debug"]
    sys.exit(_run(words, debug))


def _run(given: list[str], debug: bool) -> int:
    if given == ["--version"]:
        print(__version__)  # without importing cyclopts
        return 0
    try:
        from seewhy.cli.app import app

        if given and not given[0].startswith("-") and given[0] in app:
            import seewhy.cli.libraries  # noqa: F401  first, because it calls gc.freeze
        status = app(given, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return int(status or 0)
    except BrokenPipeError:
        # The reader, such as `head`, closed the pipe; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        status, line = _verdict(error)
        print(f"seewhy: {' '.join(line.split())}", file=sys.stderr)
        return status


def _verdict(error: BaseException) -> tuple[int, str]:
    """Return the exit status and the message for an error."""
    if isinstance(error, KeyboardInterrupt):
        return 130, f"interrupted; {error}" if str(error) else "interrupted"
    if isinstance(error, SeewhyError):
        return 2, str(error)
    from cyclopts import CycloptsError

    from seewhy.cli.messages import sentence

    if isinstance(error, CycloptsError):
        return 2, sentence(error)
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return 2, "out of memory on the device; use a smaller --batch-size, or --device cpu"
    what = f"{type(error).__name__}: {error}"
    return 1, f"unexpected {what}; please report it; --debug shows the traceback"
