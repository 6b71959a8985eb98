"""Damaged and forged archives of results are read, or refused in one line."""

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import memory_below, mutated, outcomes
from safetensors.torch import save as as_safetensors

from seewhy.attribution.archive import pack
from seewhy.attribution.explanation import Explanation
from seewhy.results import load

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 0.5, "", "dog", [], {}, [[]], {"#float": "nan"}),
    *({"#tuple": []}, {"#tensor": "pixels"}, {"#class": ["seewhy.errors", "SeewhyError"]}),
)


def forged_tree(tree: Any, generator: random.Random) -> Any:
    """The same JSON with one value replaced or removed."""
    if isinstance(tree, dict | list) and tree and generator.random() < 0.85:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = generator.choice(keys)
        changed = tree.copy()
        if generator.random() < 0.1:
            del changed[key]
        else:
            changed[key] = forged_tree(tree[key], generator)
        return changed
    return generator.choice(ODD)


def forged(explanation: Explanation, number: int, suffix: str) -> bytes:
    generator = random.Random(number)
    tensors, metadata = pack(explanation)
    if generator.random() < 0.4:
        metadata = json.dumps(forged_tree(json.loads(metadata), generator))
    elif generator.random() < 0.5:
        name = generator.choice(list(tensors))
        tensors[name] = generator.choice(
            (tensors[name][:1], tensors[name].double(), tensors[name].flatten(), tensors[name] * 0)
        )
    if suffix == ".safetensors":
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        content = as_safetensors(tensors, metadata={"seewhy": metadata})
        return mutated(content, generator) if generator.random() < 0.5 else content
    dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    arrays |= {"metadata": np.array(metadata), "dtypes": np.array(json.dumps(dtypes))}
    chosen = generator.choice([*arrays, None])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            content = member.getvalue()
            archive.writestr(
                f"{name}.npy", mutated(content, generator) if name == chosen else content
            )
    content = buffer.getvalue()
    return mutated(content, generator) if generator.random() < 0.3 else content


def sweep(explanation: Explanation, numbers: range, folder: Path) -> None:
    def read(number: int) -> None:
        suffix = (".npz", ".safetensors")[number % 2]
        path = folder / f"result{suffix}"
        path.write_bytes(forged(explanation, number, suffix))
        load(path).summary()

    with memory_below(400):
        counts = outcomes(numbers, read)
    assert counts["refused"] > counts.total() / 4 and counts["accepted"]
    print(dict(counts))


def test_some_damaged_archives(explanation: Explanation, tmp_path: Path):
    sweep(explanation, range(60), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("start", range(1000, 21_000, 1000))
def test_many_damaged_archives(start: int, explanation: Explanation, tmp_path: Path):
    sweep(explanation, range(start, start + 1000), tmp_path)
