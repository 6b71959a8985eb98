"""The command line: the same functions as in Python, for a terminal.

    seewhy explain dog.jpg -m torchvision/resnet50 --method grad-cam -o dog.png
    seewhy compare dog.jpg -m timm/resnet18 --methods all -o report.html
    seewhy methods | seewhy models | seewhy layers

What a user can mend ends in one line and exit status 2; Ctrl-C ends in status 130.
"""

# ruff: noqa: E402  torch comes first, for the garbage collector's sake
import atexit
import gc
import io
import os
import sys
from collections.abc import Sequence

import torch
import torchvision  # noqa: F401

# Its million objects stay for good; walking through them again costs a start half a second.
gc.freeze()
atexit.register(gc.unfreeze)

from cyclopts import App, CycloptsError

from seewhy.cli import comparing, demo, explaining, listing
from seewhy.cli.wording import sentence
from seewhy.errors import SeewhyError
from seewhy.version import __version__

app = App(
    name="seewhy",
    help="See why your vision model decides as it does, and whether you can trust the answer.",
    help_epilogue="With --debug, any command shows where in the code an error came from.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(explaining.explain)
app.command(comparing.compare)
app.command(listing.methods)
app.command(listing.models)
app.command(listing.layers)
app.command(demo.demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal knows every letter
    sys.exit(_run([word for word in given if word != "--debug"], debug))


def _run(given: list[str], debug: bool) -> int:
    try:
        status = app(given, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return int(status or 0)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; the last flush must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        status, line = _verdict(error)
        print(f"seewhy: {' '.join(line.split())}", file=sys.stderr)
        return status


def _verdict(error: BaseException) -> tuple[int, str]:
    """The exit status and what to say about an error."""
    match error:
        case SeewhyError():
            return 2, str(error)
        case CycloptsError():
            return 2, sentence(error)
        case KeyboardInterrupt():
            return 130, f"interrupted; {error}" if str(error) else "interrupted"
        case torch.OutOfMemoryError():
            return 2, "out of memory on the device; use a smaller --batch-size, or --device cpu"
    what = f"{type(error).__name__}: {error}"
    return 1, f"unexpected {what}; --debug shows where; please report it"
