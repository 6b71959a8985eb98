"""Encode named tensors and a metadata string as .npz or .safetensors bytes, and decode them."""

import io
import json
import math
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seewhy.errors import SeewhyError

# Maps that are mostly zero are compressed well; a result of a few pictures is small in any case.
EXPANSION, SMALL = 64, 2**28  # times the file's size; bytes

Packed = tuple[dict[str, Tensor], str]


def to_npz(tensors: Mapping[str, Tensor], metadata: str) -> bytes:
    """Encode tensors and metadata as a compressed .npz file."""
    dtypes = {name: str(t.dtype).removeprefix("torch.") for name, t in tensors.items()}
    # NumPy has no bfloat16; float32 holds it without loss, and `dtypes` restores it.
    numpy_ready = {n: t.float() if t.dtype == torch.bfloat16 else t for n, t in tensors.items()}
    arrays: dict[str, Any] = {n: t.numpy() for n, t in numpy_ready.items()}
    arrays |= {"metadata": np.array(metadata), "dtypes": np.array(json.dumps(dtypes))}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def from_npz(content: bytes) -> Packed:
    """Decode the bytes that `to_npz` wrote; raises SeewhyError for other content.

    What the arrays need is checked before any is read: together at most `EXPANSION` times the
    file's size, or `SMALL` bytes.
    """
    try:
        _require_modest(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            values = dict(arrays)
        metadata, dtypes = _text(values.pop("metadata")), json.loads(_text(values.pop("dtypes")))
        tensors = {n: _tensor(array, dtypes[n]) for n, array in values.items()}
    except Exception as error:  # a damaged file may raise anything
        raise _other(".npz", error) from error
    return tensors, metadata


def _require_modest(content: bytes) -> None:
    """Raise ValueError for arrays that are not numbers or texts, or far larger than the file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > max(SMALL, EXPANSION * len(content)):
            raise ValueError("it expands to far more than its size")
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is compressed in another way")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                shape, _, dtype = (
                    np.lib.format.read_array_header_1_0(stream)
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0(stream)
                )
            if dtype.kind not in "biufU" or math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename[:80]} is no array of numbers or text")


def _text(array: np.ndarray) -> str:
    """Return the text of an array; NumPy would make a string of numbers that are no characters."""
    order = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
    if array.dtype.kind != "U" or (np.frombuffer(array.tobytes(), order) > sys.maxunicode).any():
        raise ValueError("text with characters that do not exist")
    return str(array)


def _tensor(array: np.ndarray, dtype: str) -> Tensor:
    tensor = torch.from_numpy(array)
    kept = str(tensor.dtype).removeprefix("torch.")
    if dtype not in (kept, "bfloat16"):
        raise ValueError(f"an array of {kept} that stands for other numbers")
    return tensor.to(torch.bfloat16) if dtype == "bfloat16" else tensor


def _other(suffix: str, error: Exception) -> SeewhyError:
    reason = " ".join(str(error).split())[:80] or type(error).__name__
    return SeewhyError(f"expected a result saved as {suffix} ({reason})")


def to_safetensors(tensors: Mapping[str, Tensor], metadata: str) -> bytes:
    """Encode tensors as a .safetensors file, with the metadata in its header."""
    from safetensors.torch import save as encode

    # The format rejects tensors that share memory, such as two views of one tensor.
    owned = {name: tensor.clone() for name, tensor in tensors.items()}
    return encode(owned, metadata={"seewhy": metadata})


def from_safetensors(content: bytes) -> Packed:
    """Decode the bytes that `to_safetensors` wrote; raises SeewhyError for other content."""
    from safetensors.torch import load as decode

    try:
        tensors = decode(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header.get("__metadata__", {}).get("seewhy", "{}")
    except Exception as error:  # a damaged file may raise anything
        raise _other(".safetensors", error) from error
    return tensors, metadata


ENCODERS: dict[str, Callable[[Mapping[str, Tensor], str], bytes]] = {
    ".npz": to_npz,
    ".safetensors": to_safetensors,
}
DECODERS: dict[str, Callable[[bytes], Packed]] = {
    ".npz": from_npz,
    ".safetensors": from_safetensors,
}
