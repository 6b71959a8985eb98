"""Run the benchmarks and print the table: `python -m benchmarks`."""

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch

from benchmarks.attribution import Case, cases
from benchmarks.keeping import keep


def main() -> None:
    """Run the cases and print each row as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--networks", default="squeezenet1_1", help="comma-separated names")
    parser.add_argument("--runs", type=int, default=7, help="timed pairs for a short case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="run only cases whose name contains this")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {given.threads} threads, float32, 224 px\n")
    print("| case | network | batch | ours, s | peer | peer, s | ours / peer |")
    print("|---|---|---|---|---|---|---|")
    for case in cases(given.networks.split(","), given.runs):
        if given.only in case.case:
            row = _measured(case)
            print(_line(row), flush=True)
            if given.json:
                keep(row, given.json, ("case", "network", "batch", "peer"))


def _measured(case: Case) -> dict[str, Any]:
    comparison = case.run()
    return {
        "case": case.case,
        "network": case.network,
        "batch": case.batch,
        "peer": case.peer,
        "ours_seconds": [round(s, 4) for s in comparison.ours],
        "peer_seconds": [round(s, 4) for s in comparison.peer],
        "ratio": round(comparison.ratio, 3),
    }


def _line(row: dict[str, Any]) -> str:
    ours, peer = (statistics.median(row[f"{side}_seconds"]) for side in ("ours", "peer"))
    return (
        f"| {row['case']} | {row['network']} | {row['batch']} | {ours:.3f} "
        f"| {row['peer']} | {peer:.3f} | {row['ratio']:.2f} |"
    )


if __name__ == "__main__":
    main()
