"""A progress bar on standard error, for people only."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 1.0  # seconds before a bar appears: short work stays silent


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Yield a function of (what runs, share done in [0, 1]) that draws a bar where it is wanted.

    The bar goes to a terminal only, appears after a second, and vanishes at the end.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda what, share: None
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
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else the bar would take what goes to a file
    )
    task = bar.add_task("", total=1.0)
    begun = time.monotonic()
    started = False

    def tell(what: str, share: float) -> None:
        nonlocal started
        bar.update(task, description=what, completed=share)
        if not started and time.monotonic() - begun > PATIENCE:
            bar.start()
            started = True

    try:
        yield tell
    finally:
        bar.stop()
