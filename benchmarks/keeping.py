"""Print measurements as rows of a table, and store them in a file."""

import json
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

Row = Mapping[str, Any]


def show(rows: Iterable[Row], file: Path | None = None, key: Iterable[str] = ()) -> None:
    """Print each row when it is measured; rows with the same `key` in the file are replaced."""
    for number, row in enumerate(rows):
        if not number:
            print(f"\n| {' | '.join(row)} |\n|{'---|' * len(row)}")
        print(f"| {' | '.join(map(_written, row.values()))} |", flush=True)
        if file:
            keep(row, file, key)


def keep(row: Row, file: Path, key: Iterable[str]) -> None:
    """Write the row to the file, replacing an older one with the same key."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    rows = [old for old in rows if any(old.get(k) != row.get(k) for k in key)]
    file.write_text(json.dumps({**about(), "rows": [*rows, row]}, indent=1) + "\n")


def about() -> dict[str, Any]:
    """Return the software and hardware of the measurements."""
    facts = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }
    return facts | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def clock() -> float:
    """Return the time in seconds, after waiting for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _written(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
