"""Time two functions alternately and compare them pair by pair."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Times of ours and of the peer's in seconds, one per run."""

    ours: list[float]
    peer: list[float]

    @property
    def ratio(self) -> float:
        """The ratio of our time to the peer's: the median over pairs."""
        return statistics.median(a / b for a, b in zip(self.ours, self.peer, strict=True))


def compare(ours: Callable[[], object], peer: Callable[[], object], runs: int) -> Comparison:
    """Run each once as a warm-up, then both alternately `runs` times."""
    ours(), peer()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for function, spent in zip((ours, peer), times, strict=True):
            begun = time.perf_counter()
            function()
            spent.append(time.perf_counter() - begun)
    return Comparison(*times)
