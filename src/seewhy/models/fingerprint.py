"""A hash of everything in a model that its answers depend on."""

import hashlib
import re
from typing import Any

import torch
from torch import Tensor

from seewhy.models.model import Model

_ADDRESS = re.compile(r"0x[0-9a-f]+")


def fingerprint(model: Model) -> dict[str, str]:
    """Return the model's name, and hashes of its weights, architecture, preparation and classes."""
    preparation = (model.preparation, model.mean.tolist(), model.std.tolist(), model.outputs)
    return {
        "model": model.name,
        "weights": _of_tensors(model.net.state_dict()),
        "architecture": _of_text(_ADDRESS.sub("", repr(model.net))),
        "preparation": _of_text(repr(preparation)),
        "class names": _of_text("\n".join(model.classes or ())),
        "device": model.device.type,
    }


def _of_tensors(state: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode(errors="surrogatepass"))
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(_bytes(value))
        else:
            digest.update(repr(value).encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]


def _bytes(tensor: Tensor) -> Any:
    try:
        # One row of bytes, because a number without dimensions has no such view.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy().data if flat.numel() else b""
    except (RuntimeError, TypeError, NotImplementedError):  # sparse or quantised
        return repr(tensor).encode()


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
