"""What may come of input from strangers: a result, or one line; in little time and memory."""

import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from seewhy.errors import SeewhyError

SECONDS = 10.0
LARGEST_FILE = 2**24
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def outcome(run: Callable[[], Any]) -> str:
    """Run, and return "accepted" or "refused"; everything else fails."""
    begun = time.perf_counter()
    try:
        run()
        result = "accepted"
    except SeewhyError as error:
        text = str(error)
        assert text and "\n" not in text and len(text) < 2000, repr(text[:3000])
        result = "refused"
    assert time.perf_counter() - begun < SECONDS
    return result


def outcomes(cases: Iterable[Any], run: Callable[[Any], Any]) -> Counter[str]:
    """Count the outcomes; a case that fails is named."""
    counts: Counter[str] = Counter()
    for case in cases:
        try:
            counts[outcome(lambda case=case: run(case))] += 1
        except BaseException as error:
            error.add_note(f"in case {case!r}"[:2000])
            raise
    return counts


@contextmanager
def memory_below(megabytes: int) -> Iterator[None]:
    """Fail if the block raises the largest memory of this process by more than that."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * UNIT < megabytes * 2**20, f"{grown * UNIT / 2**20:.0f} MiB"


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Change a few places: bits, numbers, parts that are cut out, repeated or exchanged."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 5, 20))):
        if not changed:
            break
        at = generator.randrange(len(changed))
        length = generator.choice((1, 2, 4, 8, 30))
        match generator.randrange(7):
            case 0:
                changed[at] ^= 1 << generator.randrange(8)
            case 1:
                changed[at : at + length] = generator.choice((b"\0", b"\xff", b"\x7f")) * length
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length] * generator.choice((1, 3, 50))
            case 4:
                changed[at : at + length] = generator.randbytes(length)
            case 5:
                other = generator.randrange(len(changed))
                changed[at : at + length] = changed[other : other + length]
            case 6 if generator.random() < 0.2:
                del changed[at:]
    return bytes(changed[:LARGEST_FILE])
