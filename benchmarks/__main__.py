"""Print the table: `python -m benchmarks`."""

import argparse
import json
import platform
import statistics
from pathlib import Path

import torch

from benchmarks.attribution import Result, cases


def main() -> None:
    """Run the cases and print a row as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--networks", default="squeezenet1_1", help="names with commas between")
    parser.add_argument("--runs", type=int, default=7, help="timed pairs of a short case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
    print(f"torch {torch.__version__}, {given.threads} threads, float32, 224 px\n")
    print("| case | network | batch | ours, s | peer | peer, s | ours / peer |")
    print("|---|---|---|---|---|---|---|")
    results = []
    for result in cases(given.networks.split(","), given.runs):
        print(_row(result), flush=True)
        results.append(result)
    if given.json:
        given.json.write_text(json.dumps(_figures(results, given.threads), indent=2) + "\n")


def _row(result: Result) -> str:
    ours, peer = (statistics.median(t) for t in (result.comparison.ours, result.comparison.peer))
    return (
        f"| {result.case} | {result.network} | {result.batch} | {ours:.3f} "
        f"| {result.peer} | {peer:.3f} | {result.comparison.ratio:.2f} |"
    )


def _figures(results: list[Result], threads: int) -> dict[str, object]:
    rows = [
        {
            "case": r.case,
            "network": r.network,
            "batch": r.batch,
            "peer": r.peer,
            "ours_seconds": r.comparison.ours,
            "peer_seconds": r.comparison.peer,
            "ratio": r.comparison.ratio,
        }
        for r in results
    ]
    about = {"torch": torch.__version__, "threads": threads, "machine": platform.machine()}
    return {**about, "rows": rows}


if __name__ == "__main__":
    main()
