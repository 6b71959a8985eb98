"""Read weights from a file without running any code that it may contain.

What a file holds is looked at before its values are: layouts, devices, shapes and names. The memory
that reading needs is a small multiple of the file's size.
"""

import argparse
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from seewhy.errors import SeewhyError
from seewhy.images.files import require_file
from seewhy.sources.pickled import ANOTHER, check_pickles, check_zip, would_run
from seewhy.support.quiet import quiet

StateDict = dict[str, Tensor]

# Keys under which training scripts store the weights in a checkpoint, most common first.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "module", "params"),
    *("teacher", "model_ema", "ema", "state_dict_ema", "student"),
)
TORCH_ZIP, TORCH_PICKLE = b"PK\x03\x04", b"\x80"
LONGEST_SHOWN = 80  # characters of a name in a message
SAFETENSORS = b"{"  # start of the header, after eight bytes with its length
DEEPEST_WRAPPER = 5  # of state dicts in one another, as in {"model": {"state_dict": ...}}
MOST_NAMES, LONGEST_NAME, LONGEST_HEADER = 100_000, 1_000, 2**25
# All tensors together may be larger than the file, because several may share memory.
LARGEST_SHARE, SMALL = 4, 2**26  # times the file's size; bytes


def read_weights(path: str | os.PathLike[str]) -> StateDict:
    """Read the tensors of a .safetensors file or a PyTorch checkpoint, by name, on the CPU.

    The format is determined by the content, not the suffix. Checkpoints such as `{"model": {...}}`
    are unwrapped.

    Raises `SeewhyError` if the file is missing or damaged, would run code, needs far more memory
    than its size, or holds no weights, other than dense tensors, NaN or infinity.
    """
    file = require_file(Path(path), "weights")
    try:
        with file.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise SeewhyError(f"{file} could not be read: {error.strerror}") from None
    state = _unwrapped(_content(file, start), file)
    _require_ordinary(state, file)
    _require_finite(state, file)
    return state


def _content(file: Path, start: bytes) -> Any:
    if start[8:] == SAFETENSORS:  # checked first, because the length can be any bytes
        if int.from_bytes(start[:8], "little") > LONGEST_HEADER:
            raise SeewhyError(f"{file} has a header of more than 32 MiB; {ANOTHER}")
        return _from_safetensors(file)
    if start.startswith(TORCH_ZIP):
        check_zip(file)
        return _from_torch(file)
    if start.startswith(TORCH_PICKLE):
        check_pickles(file)
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
            quiet("torch"),
            safe_globals([argparse.Namespace]),
        ):
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise _refusal(file, _one_line(error)) from None


def _refusal(file: Path, error: str) -> SeewhyError:
    imported = re.search(r"GLOBAL (\S+)", error)
    if imported:
        return would_run(file, f"it imports {imported[1][:LONGEST_SHOWN]}")
    if "Weights only load failed" in error:
        return SeewhyError(f"{file} is a pickle of something other than weights; {ANOTHER}")
    return SeewhyError(f"{file} is truncated or damaged ({error[:80]}); give a complete file")


def _unwrapped(content: Any, file: Path) -> StateDict:
    for _ in range(DEEPEST_WRAPPER):
        inner = [w for w in WRAPPERS if isinstance(_entry(content, w), Mapping)]
        if not inner:
            break
        content = content[inner[0]]
    if isinstance(content, Mapping):
        tensors = {
            key: value
            for key, value in content.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        if tensors:
            return tensors
    raise SeewhyError(f"{file} holds no state dict, but {_described(content)}; {ANOTHER}")


def _entry(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else None


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    if not content:
        return "nothing"
    keys = [str(key)[:LONGEST_SHOWN] for key in list(content)[:5]]
    return "the keys " + ", ".join(keys)


def _require_ordinary(state: StateDict, file: Path) -> None:
    """Raise SeewhyError unless all tensors are dense, on the CPU, and not larger than the file."""
    if len(state) > MOST_NAMES:
        raise SeewhyError(f"{file} holds {len(state)} tensors, more than {MOST_NAMES}; {ANOTHER}")
    total = 0
    for name, tensor in state.items():
        if len(name) > LONGEST_NAME:
            raise SeewhyError(
                f"{file} holds a tensor whose name has {len(name)} characters "
                f"({name[:LONGEST_SHOWN]}...), more than {LONGEST_NAME}; {ANOTHER}"
            )
        kind = _unusual(tensor)
        if kind:
            raise SeewhyError(f"{file} holds {kind} in {name}; {ANOTHER}")
        size = tensor.numel() * tensor.element_size()
        total += size
        if size > max(SMALL, tensor.untyped_storage().nbytes()):
            raise SeewhyError(
                f"{file} holds few values that are repeated as {_times(tensor.shape)} in {name}; "
                "save contiguous tensors"
            )
    if total > SMALL + LARGEST_SHARE * file.stat().st_size:
        raise SeewhyError(
            f"{file} of {file.stat().st_size} bytes holds tensors of {total} bytes, which share "
            "their values; save contiguous tensors"
        )


def _unusual(tensor: Tensor) -> str | None:
    """Return what a tensor is, if it is not a dense tensor with values on the CPU."""
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"a tensor of the subclass {type(tensor).__name__}"
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.layout != torch.strided:
        return f"a sparse tensor ({tensor.layout})"
    if tensor.is_quantized:
        return "a quantised tensor"
    if tensor.is_complex():
        return "complex numbers"
    return None if tensor.device.type == "cpu" else f"a tensor of the device {tensor.device}"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _require_finite(state: StateDict, file: Path) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.float().isfinite().all():
            raise SeewhyError(
                f"{file} has NaN or infinite values in {name}; the training diverged or the "
                "file is damaged: give another checkpoint"
            )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
