"""Read a file of weights without running any code that it may carry."""

import argparse
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.images.files import require_file

StateDict = dict[str, Tensor]

# Where training scripts put the weights among the rest of a checkpoint, the usual ones first.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "module", "params"),
    *("teacher", "model_ema", "ema", "state_dict_ema", "student"),
)
TORCH_ZIP, TORCH_PICKLE = b"PK\x03\x04", b"\x80"
ANOTHER = "give a .safetensors file, or a state dict saved with torch.save"


def read_weights(path: str | os.PathLike[str]) -> StateDict:
    """The tensors in a .safetensors file or a PyTorch checkpoint, by name, on the CPU.

    The content decides, not the suffix. A checkpoint is unwrapped: `{"model": {...}}`.

    Raises `SeewhyError` when the file is missing, damaged, would run code, holds no weights,
    or holds NaN or infinity.
    """
    file = require_file(Path(path), "weights")
    try:
        with file.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise SeewhyError(f"{file} could not be read: {error.strerror}") from None
    state = _unwrapped(_content(file, start), file)
    _require_finite(state, file)
    return state


def _content(file: Path, start: bytes) -> Any:
    if start.startswith((TORCH_ZIP, TORCH_PICKLE)):
        return _from_torch(file)
    if start[8:9] == b"{" or file.suffix == ".safetensors":
        return _from_safetensors(file)
    raise SeewhyError(f"{file} holds no weights that can be read; {ANOTHER}")


def _from_safetensors(file: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise SeewhyError(
            f"{file} is truncated or no safetensors file ({_one_line(error)}); give a complete file"
        ) from None


def _from_torch(file: Path) -> Any:
    try:
        # A Namespace only holds values; many training scripts store their arguments in one.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise SeewhyError(_refusal(file, str(error))) from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise SeewhyError(_damaged(file, error)) from None


def _refusal(file: Path, error: str) -> str:
    if "TorchScript" in error:
        return f"{file} would run code (it is TorchScript); save its state dict as .safetensors"
    asked = re.search(r"GLOBAL (\S+)|(?:unsupported|Trying to call) \S* ?(\S+)", error)
    if asked and "Unsupported" in error:
        wanted = next(filter(None, asked.groups())).rstrip(".,")
        return (
            f"{file} would run code (it asks for {wanted}); convert it to .safetensors, "
            "or save only the state dict, where you trust it"
        )
    return _damaged(file, RuntimeError(error))


def _damaged(file: Path, error: Exception) -> str:
    why = _one_line(error)[:120]
    return f"{file} is truncated or damaged ({why}); give a complete file"


def _unwrapped(content: Any, file: Path) -> StateDict:
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                return _unwrapped(content[wrapper], file)
        tensors = {
            key: value
            for key, value in content.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        if tensors:
            return tensors
    found = (
        "the keys " + ", ".join(map(str, list(content)[:5]))
        if isinstance(content, Mapping) and content
        else "nothing"
        if isinstance(content, Mapping)
        else f"a {type(content).__name__}"
    )
    raise SeewhyError(f"{file} holds no state dict, but {found}; {ANOTHER}")


def _require_finite(state: StateDict, file: Path) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise SeewhyError(
                f"{file} has NaN or infinite values in {name}; the training diverged or the "
                "file is damaged: give another checkpoint"
            )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
