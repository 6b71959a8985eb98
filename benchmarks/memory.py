"""Peak memory of a panel beside that of one plain gradient: `python -m benchmarks.memory`.

Each is run in a process of its own, on the same batch; what counts is the growth of the resident
set above what the loaded model and the batch take.
"""

import argparse
import gc
import resource
import subprocess
import sys

import torch

import seewhy
from benchmarks.attribution import TWELVE, Bench


def main() -> None:
    """Print both peaks and their ratio, for each network."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--networks", default="squeezenet1_1,resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--only", choices=["torch", "seewhy", "panel"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(_growth(given.networks, given.batch, given.only))
        return
    print("| network | batch | one gradient, MB | panel of 12, MB | ratio |\n|---|---|---|---|---|")
    for name in given.networks.split(","):
        one, panel = (_in_own_process(name, given.batch, what) for what in ("gradient", "panel"))
        print(
            f"| {name} | {given.batch} | {one:.0f} | {panel:.0f} | {panel / one:.2f} |", flush=True
        )


def _in_own_process(name: str, batch: int, what: str) -> float:
    call = [sys.executable, "-m", "benchmarks.memory", "--networks", name, "--batch", str(batch)]
    done = subprocess.run([*call, "--only", what], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _growth(name: str, batch: int, what: str) -> float:
    """Megabytes that the resident set grows by at most."""
    torch.set_num_threads(2)
    small, bench = Bench(name, 1), Bench(name, batch)
    seewhy.compare(small.model, small.batch, TWELVE)  # what is loaded once is loaded now
    del small
    gc.collect()
    before = _resident()
    _forget_peak()
    if what == "torch":
        pixels = bench.pixels.clone().requires_grad_()
        bench.net.requires_grad_(False)
        score = bench.net(pixels).gather(1, bench.target[:, None]).sum()
        torch.autograd.grad(score, pixels)
    elif what == "seewhy":
        seewhy.explain(bench.model, bench.batch, "gradient", bench.target)
    else:
        seewhy.compare(bench.model, bench.batch, TWELVE, bench.target)
    return (_peak() - before) / 2**20


def _status(field: str) -> int:
    with open("/proc/self/status") as file:  # noqa: PTH123
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024


def _resident() -> int:
    return _status("VmRSS")


def _peak() -> int:
    return max(_status("VmHWM"), resource.getpagesize())


def _forget_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
        file.write("5")


if __name__ == "__main__":
    main()
