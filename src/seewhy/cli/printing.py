"""Print for a terminal: all output of the command line goes through here."""

import json
import sys
from typing import Any

from seewhy.support.printable import printable


def say(text: str) -> None:
    """Print text of one or several lines on standard output."""
    print(printable(text, keep="\n"), flush=True)


def say_json(data: Any) -> None:
    """Print data as JSON on standard output."""
    print(json.dumps(data, ensure_ascii=False, indent=2), flush=True)


def warn(text: str) -> None:
    """Print a line on standard error, after the name of the program."""
    print(f"seewhy: {printable(' '.join(text.split()))}", file=sys.stderr, flush=True)
