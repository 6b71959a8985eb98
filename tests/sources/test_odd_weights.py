"""Weights from strangers: odd tensors, and small files that ask for much more than their size."""

import io
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy.errors import SeewhyError
from seewhy.sources.weights import read_weights


class Subclass(Tensor):
    pass


class Calls:
    """Pickled as a call of a function that `torch.load` allows."""

    def __init__(self, function: Callable, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def nested(depth: int) -> Any:
    value: Any = ()
    for _ in range(depth):
        value = (value,)
    return value


def cyclic() -> dict:
    state: dict = {}
    state["model"] = state
    return state


def attributed(value: Tensor) -> Tensor:
    value.note = "kept"  # type: ignore[attr-defined]
    return value


HUGE = torch.zeros(1).expand(100_000, 100_000)
ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "meta": (lambda: {"w": torch.zeros(3, device="meta")}, "without values"),
    "sparse": (lambda: {"w": torch.eye(3).to_sparse()}, "sparse"),
    "csr": (lambda: {"w": torch.eye(3).to_sparse_csr()}, "sparse"),
    "nested": (lambda: {"w": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, "nested"),
    "quantised": (
        lambda: {"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)},
        "quantised",
    ),
    "complex": (lambda: {"w": torch.ones(3, dtype=torch.complex64)}, "complex numbers in w"),
    "subclass": (lambda: {"w": torch.ones(3).as_subclass(Subclass)}, "would run code"),
    "repeated": (lambda: {"w": HUGE}, "few values that are repeated as 100000x100000 in w"),
    "shared": (
        lambda: {f"w{i}": v for i, v in enumerate([torch.zeros(2**20)] * 1000)},
        "share their values",
    ),
    "cyclic": (cyclic, "holds no state dict, but the keys model"),
    "long name": (lambda: {"n" * 100_000: torch.ones(3)}, "name has 100000 characters"),
    "other keys": (lambda: {3: torch.ones(3), None: 1}, "but the keys 3, None"),
    "long other key": (lambda: {b"k" * 100_000: 1}, "holds no state dict"),
    "no weights": (lambda: [torch.ones(3)], "but a list"),
    "deep key": (lambda: {nested(150): 1, "w": torch.ones(3)}, "nested more than 100 deep"),
    "bytes": (lambda: {"b": bytearray(9)}, "raw bytes"),
    "big bytes": (lambda: {"b": Calls(bytearray, 10**11)}, "raw bytes"),
    "set of a tensor": (lambda: {"s": Calls(set, HUGE.flatten()[: 10**9])}, "made of a tensor"),
    "counter of a tensor": (lambda: {"s": Calls(Counter, HUGE[0])}, "made of a tensor"),
    "NaN": (lambda: {"w": torch.tensor([1.0, torch.nan])}, "NaN or infinite"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings(
    "ignore:Sparse CSR|The PyTorch API of nested|torch.quantize_per:UserWarning"
)
def test_odd_weights_are_refused_in_one_line(kind: str, legacy: bool, tmp_path: Path):
    content, says = ODD[kind]
    file = tmp_path / "odd.pt"
    torch.save(content(), file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(SeewhyError) as caught:
        read_weights(file)
    text = str(caught.value)
    assert says in text and str(file) in text
    assert "\n" not in text and len(text) < 500 + len(str(file))


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_scripts_store_beside_weights_is_read(legacy: bool, tmp_path: Path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4))
    tied = nn.Parameter(torch.ones(5, 5))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(2, 3, 6, 6)).sum().backward()
    optimizer.step()
    state = dict(net.state_dict()) | {"a": tied, "b": tied, "t": tied.T, "c": torch.ones(3)[1:]}
    state["attributed"] = attributed(torch.ones(3))
    content = {
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
        "lr_schedulers": [{"milestones": Counter({30: 1, 60: 1}), "seen": {1, 2}}],
        "ids": torch.arange(9).expand(1, -1),
        "sizes": torch.Size([1, 2]),
        "nested": nested(20),
    }
    torch.save(content, tmp_path / "full.pt", _use_new_zipfile_serialization=not legacy)
    assert read_weights(tmp_path / "full.pt").keys() == state.keys()


def rewritten(content: bytes, change: Callable[[list[tuple[str, bytes]]], None], **how: Any):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **how) as archive:
        for name, value in members:
            archive.writestr(name, value)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_archives_that_are_no_checkpoints_are_refused(tmp_path: Path):
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(2**20)}, buffer)
    whole, file = buffer.getvalue(), tmp_path / "weights.pth"
    (name, pickled), *_ = [
        (n, zipfile.ZipFile(buffer).read(n))
        for n in zipfile.ZipFile(buffer).namelist()
        if n.endswith("data.pkl")
    ]
    bomb = rewritten(whole, lambda members: None, compression=zipfile.ZIP_DEFLATED)
    twice = rewritten(whole, lambda members: members.append((name, pickled)))
    larger = pickled.replace(b"J\x00\x00\x10\x00", b"J\x00\x00\x00\x7f")  # the storage's size
    assert larger != pickled
    declared = rewritten(
        whole, lambda m: m.__setitem__([n for n, _ in m].index(name), (name, larger))
    )
    for content, says in [
        (bomb, "is compressed"),
        (twice, "overlapping"),
        (declared, "truncated or damaged"),
        (whole[: len(whole) // 2], "truncated or damaged"),
        (b"PK\x03\x04" + bytes(100), "truncated or damaged"),
    ]:
        file.write_bytes(content)
        with pytest.raises(SeewhyError, match=says):
            read_weights(file)


def test_a_safetensors_header_of_gigabytes_is_refused(tmp_path: Path):
    file = tmp_path / "header.safetensors"
    for length, says in [(2**40, "header of more than 32 MiB"), (2**20, "truncated or not")]:
        file.write_bytes(length.to_bytes(8, "little") + b"{" + bytes(1000))
        with pytest.raises(SeewhyError, match=says):
            read_weights(file)


def test_pickles_of_other_things_are_refused(tmp_path: Path):
    file = tmp_path / "other.pt"
    for content in (np.ones(3), {"w": [1, 2]}, nested(10_000), print):
        try:
            file.write_bytes(pickle.dumps(content, protocol=2))
        except RecursionError:
            file.write_bytes(b"\x80\x02)" + b"\x85" * 200_000 + b".")
        with pytest.raises(SeewhyError) as caught:
            read_weights(file)
        assert "\n" not in str(caught.value)
