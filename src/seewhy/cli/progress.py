"""A progress bar on standard error, if that is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from seewhy.support.printable import printable

PATIENCE = 1.0  # seconds before the bar appears, so that short runs show none


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Yield a function of (description, share done in [0, 1]) that updates the progress bar.

    The bar is drawn only on a terminal, appears after a second, and is erased at the end.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda description, share: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # otherwise rich would take the output from a file
    )
    task = bar.add_task("", total=1.0)
    start = time.monotonic()
    started = False

    def update(description: str, share: float) -> None:
        nonlocal started
        bar.update(task, description=printable(description), completed=share)
        if not started and time.monotonic() - start > PATIENCE:
            bar.start()
            started = True

    try:
        yield update
    finally:
        bar.stop()
