"""The command line: the same functions as in Python, for a terminal.

    seewhy explain dog.jpg -m torchvision/resnet50 --method grad-cam -o dog.png
    seewhy compare dog.jpg -m timm/resnet18 --methods all -o report.html
    seewhy methods | seewhy models | seewhy layers

What a user can mend ends in one line and exit status 2; Ctrl-C ends in status 130.
"""

# ruff: noqa: E402  torch comes first, for the garbage collector's sake
import atexit
import gc
import sys
from collections.abc import Sequence

import torchvision  # noqa: F401

# Its million objects stay for good; walking through them again costs a start half a second.
gc.freeze()
atexit.register(gc.unfreeze)

from cyclopts import App, CycloptsError

from seewhy.cli import comparing, demo, explaining, listing
from seewhy.errors import SeewhyError
from seewhy.version import __version__

app = App(
    name="seewhy",
    help="See why your vision model decides as it does, and whether you can trust the answer.",
    version=__version__,
    result_action="return_value",
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
    given = [word for word in given if word != "--debug"]
    sys.exit(_run(given, debug))


def _run(given: list[str], debug: bool) -> int:
    try:
        status = app(given, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return int(status or 0)
    except (SeewhyError, CycloptsError) as error:
        if debug:
            raise
        print(f"seewhy: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if debug:
            raise
        print("seewhy: interrupted; what was finished is saved", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough.
        sys.stderr.close()
        return 0
