"""Measure, and write the page: `python -m benchmarks.networks`.

Families that were measured before are not run again, unless --again; names of families run those
alone, and names of networks that are no family are measured and printed, but not kept.
"""

import argparse
import os
from pathlib import Path

import torch

from benchmarks.networks.choosing import families
from benchmarks.networks.page import PAGE, page
from benchmarks.networks.sweep import RESULTS, named, read, sweep, told


def main() -> None:
    """Run the sweep and write docs/networks.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__)
    parser.add_argument("names", nargs="*", help="families or networks; all families by default")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of JSON lines")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    parser.add_argument("--seconds", type=int, default=400, help="CPU time for one family, at most")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    known = families()
    wanted = [name for name in given.names if name in known] or ([] if given.names else known)
    if given.again:
        _forget(given.results, wanted)
    sweep(wanted, given.results, given.seconds)
    for name in given.names:
        if name not in known:
            print(told(named(name)), flush=True)
    if given.results == RESULTS:
        PAGE.write_text(page(read()))


def _forget(file: Path, families: list[str]) -> None:
    lines = file.read_text().splitlines() if file.exists() else []
    kept = [line for line in lines if not any(f'"family": "{f}"' in line for f in families)]
    file.write_text("".join(f"{line}\n" for line in kept))


if __name__ == "__main__":
    main()
