"""A file about an error of this package, for the user to attach to a bug report.

It holds the traceback, the versions and the arguments; no pictures, and no values of variables.
"""

import os
import platform
import secrets
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from seewhy.support.printable import printable
from seewhy.version import __version__

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "timm", "transformers", "safetensors")
LONGEST = 2_000  # characters in a line; a message may hold a whole tensor or name
MOST_LINES = 2_000


def write_crash_report(error: BaseException, arguments: Sequence[str]) -> Path | None:
    """Write a report about `error` to the folder for temporary files, and return its path.

    Only the user can read the file. Returns None if it cannot be written; never raises.
    """
    try:
        text = _text(error, arguments)
        path = Path(tempfile.gettempdir()) / f"seewhy-report-{secrets.token_hex(6)}.txt"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except Exception:  # a full disk, no temporary folder, an exception that cannot be printed
        return None
    return path


def _text(error: BaseException, arguments: Sequence[str]) -> str:
    head = [
        f"seewhy {__version__}, Python {platform.python_version()}, {platform.platform()}",
        *(f"{package} {_version(package)}" for package in PACKAGES),
        f"arguments: {' '.join(map(repr, arguments))}",
        f"encoding: {sys.getfilesystemencoding()}",
        "",
    ]
    lines = "".join(traceback.format_exception(error)).splitlines()
    if len(lines) > MOST_LINES:  # the end names the error
        lines = [*lines[: MOST_LINES // 2], "...", *lines[-MOST_LINES // 2 :]]
    return "".join(f"{printable(line[:LONGEST])}\n" for line in [*head, *lines])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"
