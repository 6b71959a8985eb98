"""Time the calls of this checkout against those of an older one, alternately.

`git worktree add ../old REVISION` and `python -m benchmarks.revisions ../old` print, for each case
of `python -m benchmarks`, the median ratio of the pairs (below 1: this checkout is faster). Each
checkout runs in a process of its own; only one of them works at a time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import seewhy
from benchmarks.attribution import COMPOSITES, EIGHT, TWELVE, Bench
from benchmarks.keeping import Row, show

HERE = Path(__file__).parents[1]
PANELS = {"panel of 8": EIGHT, "panel of 12": TWELVE}
SINGLE = ("gradient", "grad-cam", "layer-cam", "deep-lift", *COMPOSITES)


def main() -> None:
    """Print the table; with `--serve`, run one case for each line that is read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.revisions")
    parser.add_argument("older", type=Path, nargs="?", help="folder of the older checkout")
    parser.add_argument("--networks", default="squeezenet1_1,resnet50")
    parser.add_argument("--batches", default="1,4")
    parser.add_argument("--cases", default=",".join([*SINGLE, *PANELS]))
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.serve:
        serve()
    else:
        show(measured(given), given.json, ("case", "network", "batch"))


def measured(given: argparse.Namespace) -> Iterator[Row]:
    """Yield one row per case, network and batch size."""
    ours, older = (Checkout(path, given.threads) for path in (HERE, given.older))
    for network in given.networks.split(","):
        for batch in given.batches.split(","):
            for case in given.cases.split(","):
                pairs = []
                for number in range(given.runs + 1):
                    # In turn, so that neither is always the one that runs first.
                    order = (ours, older) if number % 2 else (older, ours)
                    seconds = {side: side.seconds(network, batch, case) for side in order}
                    pairs.append((seconds[ours], seconds[older]))
                del pairs[0]  # the first run prepares
                yield {
                    "case": case,
                    "network": network,
                    "batch": int(batch),
                    "this, s": statistics.median(a for a, _ in pairs),
                    "older, s": statistics.median(b for _, b in pairs),
                    "this / older": statistics.median(a / b for a, b in pairs),
                }


class Checkout:
    """A process that runs cases with the code of one checkout."""

    def __init__(self, folder: Path, threads: int):
        paths = [str(folder.resolve() / "src"), str(HERE)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.revisions", "--serve", "--threads", str(threads)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def seconds(self, network: str, batch: str, case: str) -> float:
        """Run the case once and return its time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(network, batch, case, sep=",", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def serve() -> None:
    """Run the case of each line of standard input and print its time."""
    benches: dict[tuple[str, str], Bench] = {}
    for line in sys.stdin:
        network, batch, case = line.strip().split(",")
        if (network, batch) not in benches:
            benches.clear()
            benches[network, batch] = Bench(network, int(batch))
        bench = benches[network, batch]
        begun = time.perf_counter()
        if case in PANELS:
            seewhy.compare(bench.model, bench.batch, PANELS[case], bench.target)
        else:
            bench.explain(case)
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main()
