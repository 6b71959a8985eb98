"""Encode named tensors and a metadata string as .npz or .safetensors bytes, and decode them."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from seewhy.errors import SeewhyError

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
    """Decode the bytes that `to_npz` wrote; raises SeewhyError for other content."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            values = dict(arrays)
        metadata, dtypes = str(values.pop("metadata")), json.loads(str(values.pop("dtypes")))
        tensors = {n: torch.from_numpy(a).to(getattr(torch, dtypes[n])) for n, a in values.items()}
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise SeewhyError(f"expected a result saved as .npz ({error})") from error
    return tensors, metadata


def to_safetensors(tensors: Mapping[str, Tensor], metadata: str) -> bytes:
    """Encode tensors as a .safetensors file, with the metadata in its header."""
    from safetensors.torch import save as encode

    # The format rejects tensors that share memory, such as two views of one tensor.
    owned = {name: tensor.clone() for name, tensor in tensors.items()}
    return encode(owned, metadata={"seewhy": metadata})


def from_safetensors(content: bytes) -> Packed:
    """Decode the bytes that `to_safetensors` wrote; raises SeewhyError for other content."""
    from safetensors import SafetensorError
    from safetensors.torch import load as decode

    try:
        tensors = decode(content)
    except SafetensorError as error:
        raise SeewhyError(f"expected a result saved as .safetensors ({error})") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {}).get("seewhy", "{}")


ENCODERS: dict[str, Callable[[Mapping[str, Tensor], str], bytes]] = {
    ".npz": to_npz,
    ".safetensors": to_safetensors,
}
DECODERS: dict[str, Callable[[bytes], Packed]] = {
    ".npz": from_npz,
    ".safetensors": from_safetensors,
}
