"""Read weights from a file without running any code that it may contain."""

import argparse
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from seewhy.errors import SeewhyError
from seewhy.images.files import require_file

StateDict = dict[str, Tensor]

# Keys under which training scripts store the weights in a checkpoint, most common first.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "module", "params"),
    *("teacher", "model_ema", "ema", "state_dict_ema", "student"),
)
TORCH_ZIP, TORCH_PICKLE = b"PK\x03\x04", b"\x80"
SAFETENSORS = b"{"  # start of the header, after eight bytes with its length
ANOTHER = "give a .safetensors file, or a state dict saved with torch.save"


def read_weights(path: str | os.PathLike[str]) -> StateDict:
    """Read the tensors of a .safetensors file or a PyTorch checkpoint, by name, on the CPU.

    The format is determined by the content, not the suffix. Checkpoints such as `{"model": {...}}`
    are unwrapped.

    Raises `SeewhyError` if the file is missing or damaged, would run code, or holds no weights, NaN
    or infinity.
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
    if start[8:] == SAFETENSORS:  # checked first, because the length can be any bytes
        return _from_safetensors(file)
    if start.startswith((TORCH_ZIP, TORCH_PICKLE)):
        return _from_torch(file)
    if file.suffix == ".safetensors":
        return _from_safetensors(file)
    raise SeewhyError(f"{file} holds no weights that can be read; {ANOTHER}")


def _from_safetensors(file: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise SeewhyError(
            f"{file} is truncated or not a safetensors file ({_one_line(error)}); "
            "give a complete file"
        ) from None


def _from_torch(file: Path) -> Any:
    try:
        # Namespace is harmless, and many training scripts store their arguments in one.
        with (
            file.open("rb") as stream,  # with a file name, torch.load would go by its suffix
            warnings.catch_warnings(action="ignore"),
            safe_globals([argparse.Namespace]),
        ):
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise SeewhyError(f"{file} {_refusal(_one_line(error))}") from None


def _refusal(error: str) -> str:
    imported = re.search(r"GLOBAL (\S+)", error)
    if imported or "TorchScript" in error:
        code = f"it imports {imported[1]}" if imported else "it is TorchScript"
        return (
            f"would run code ({code}); if you trust it, load it yourself and save its state dict "
            "as .safetensors"
        )
    if "Weights only load failed" in error:
        return f"is a pickle of something other than weights; {ANOTHER}"
    return f"is truncated or damaged ({error[:80]}); give a complete file"


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
    raise SeewhyError(f"{file} holds no state dict, but {_described(content)}; {ANOTHER}")


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return "the keys " + ", ".join(map(str, list(content)[:5])) if content else "nothing"


def _require_finite(state: StateDict, file: Path) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.float().isfinite().all():
            raise SeewhyError(
                f"{file} has NaN or infinite values in {name}; the training diverged or the "
                "file is damaged: give another checkpoint"
            )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
