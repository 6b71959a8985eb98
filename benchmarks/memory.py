"""Peak memory of a panel and of one plain gradient: `python -m benchmarks.memory`.

Each runs in a process of its own, on the same batch; the result is the peak growth of the resident
set after the model and the batch have been loaded.
"""

import argparse
import gc
import resource
import subprocess
import sys

import torch

import seewhy
from benchmarks.attribution import TWELVE, Bench

WHAT = ("torch", "seewhy", "panel")  # a plain gradient, the same in seewhy, and twelve methods


def main() -> None:
    """Print the peaks and their ratios for each network."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--networks", default="squeezenet1_1,resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--only", choices=WHAT, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(_growth(given.networks, given.batch, given.only))
        return
    print("| network | batch | a gradient by torch, MB | ours, MB | panel, MB | / torch | / ours |")
    print("|---|---|---|---|---|---|---|")
    for name in given.networks.split(","):
        torch_only, ours, panel = (_in_own_process(name, given.batch, what) for what in WHAT)
        print(
            f"| {name} | {given.batch} | {torch_only:.0f} | {ours:.0f} | {panel:.0f} "
            f"| {panel / torch_only:.2f} | {panel / ours:.2f} |",
            flush=True,
        )


def _in_own_process(name: str, batch: int, what: str) -> float:
    call = [sys.executable, "-m", "benchmarks.memory", "--networks", name, "--batch", str(batch)]
    done = subprocess.run([*call, "--only", what], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _growth(name: str, batch: int, what: str) -> float:
    """Return the peak growth of the resident set, in megabytes."""
    torch.set_num_threads(2)
    small, bench = Bench(name, 1), Bench(name, batch)
    seewhy.compare(small.model, small.batch, TWELVE)  # load everything that is loaded only once
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
