"""Damaged and forged files of weights are read, or refused in one line."""

import argparse
import io
import random
import zipfile
from functools import cache
from pathlib import Path

import pytest
import torch
from outcomes import memory_below, mutated, outcomes
from safetensors.torch import save as as_safetensors

from seewhy.sources.weights import read_weights


@cache
def originals() -> tuple[bytes, ...]:
    """Valid files of each format, with what training scripts store."""
    tensors = {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4), "n": torch.tensor(3)}
    content = {
        "state_dict": tensors
        | {"tied": torch.nn.Parameter(torch.ones(9)), "t": torch.ones(2, 3).T},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(lr=0.1, sizes=(1, 2)),
        "seen": {1, 2},
    }
    files = [as_safetensors(tensors, metadata={"note": "x"})]
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        files.append(buffer.getvalue())
    return tuple(files)


def forged(number: int) -> bytes:
    """The n-th damaged file; in half of the archives the pickle is changed, the rest is valid."""
    generator = random.Random(number)
    content = originals()[number % 3]
    if not content.startswith(b"PK") or generator.random() < 0.3:
        return mutated(content, generator)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(buffer, "w") as new:
        for name in archive.namelist():
            member = archive.read(name)
            is_pickle = name.endswith("data.pkl")
            new.writestr(name, mutated(member, generator) if is_pickle else member)
    return buffer.getvalue()


def sweep(numbers: range, folder: Path) -> None:
    file = folder / "weights.pt"

    def read(number: int) -> None:
        file.write_bytes(forged(number))
        read_weights(file)

    with memory_below(300):
        counts = outcomes(numbers, read)
    assert counts["refused"] > counts.total() / 4
    print(dict(counts))


def test_some_damaged_weights(tmp_path: Path):
    sweep(range(60), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("start", range(1000, 21_000, 1000))
def test_many_damaged_weights(start: int, tmp_path: Path):
    sweep(range(start, start + 1000), tmp_path)
