"""Run all checks on one network of each family, and keep a line for each.

A line is JSON: the network, and of each check its figure, the reason for a refusal, or the error
that it failed with. A family that has a line is not run again, so that a sweep can be cut off and
go on; a family that takes too long gets a line that says so.
"""

import json
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.networks.checks import CHECKS, LEAST_CORRELATION, LIMITS
from benchmarks.networks.choosing import Subject, built, chosen
from seewhy.errors import SeewhyError

RESULTS = Path(__file__).parents[1] / "results" / "networks.jsonl"
Row = dict[str, Any]


class OutOfTime(BaseException):
    """Raised when a family takes too long.

    Not an Exception, so that no `except Exception` on the way swallows it.
    """


def sweep(families: Iterable[str], file: Path = RESULTS, seconds: int = 400) -> None:
    """Measure the families that the file has no line of, each for so many seconds at most."""
    known = {row["family"] for row in read(file)}
    for family in families:
        if family not in known:
            row = measured(family, lambda family=family: chosen(family), seconds)
            with file.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            print(told(row), flush=True)


def measured(family: str, choose: Callable[[], Subject], seconds: int = 400) -> Row:
    """The line of one network."""
    started = time.process_time()
    row: Row = {"family": family}
    try:
        with _at_most(seconds):
            row |= checked(choose())
    except (LookupError, OutOfTime) as error:
        row["not run"] = str(error)
    return row | {"seconds": round(time.process_time() - started, 1)}


def named(variant: str) -> Row:
    """The line of a network of timm by its name."""
    return measured(variant, lambda: built(variant, variant))


def checked(subject: Subject) -> Row:
    """The network, and of each check what came of it."""
    row: Row = {
        "variant": subject.variant,
        "parameters": subject.parameters,
        "size": subject.size,
        "double": subject.double,
        "checks": {},
    }
    for name, check in CHECKS.items():
        try:
            figure = check(subject)
            found: Row = {"value": figure.value}
            if figure.about:
                found["about"] = figure.about
            if figure.open:
                found["open"] = True
        except SeewhyError as refusal:
            found = {"refused": str(refusal)}
        except Exception as error:  # what the sweep is there to find
            traceback.print_exc()
            found = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
        row["checks"][name] = found
    return row


def wrong(row: Row) -> list[str]:
    """What is wrong in a line: tracebacks, and figures beyond their limits."""
    if "not run" in row:
        return [f"{row['family']}: {row['not run']}"]
    return [
        f"{row['variant']}: {name} {found.get('failed', found.get('value'))}"
        for name, found in row["checks"].items()
        if not is_right(name, found, row["double"])
    ]


def is_right(check: str, found: Row, double: bool = True) -> bool:
    """Whether a check has a figure within its limits, settles nothing, or is refused.

    NaN is within no limits.
    """
    if "refused" in found or "open" in found:
        return True
    if "failed" in found:
        return False
    if check == "cam":
        return found["value"] >= LEAST_CORRELATION
    return found["value"] <= LIMITS[check] * (1 if double else 100)


def told(row: Row) -> str:
    """A line for a terminal."""
    if "not run" in row:
        return f"{row['family']}: {row['not run']}"
    figures = [
        f"{name} {found['value']:.1e}" if "value" in found else f"{name} {found}"
        for name, found in row["checks"].items()
    ]
    return f"{row['family']} ({row['variant']}, {row['size']} px): {', '.join(figures)}"


def read(file: Path = RESULTS) -> list[Row]:
    """The lines that are there, by family."""
    lines = file.read_text().splitlines() if file.exists() else []
    return sorted(map(json.loads, lines), key=lambda row: row["family"])


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise OutOfTime in the main thread once the process has used so many seconds of CPU."""

    def stop(*_: Any) -> None:
        raise OutOfTime(f"it took more than {seconds} seconds of one core")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
