"""Look at a PyTorch checkpoint before it is loaded, without making any of its objects.

`torch.load(weights_only=True)` runs no code of the file, but a small file can still ask for far
more memory or time than its size: by compressed members, by tensors that repeat one value, and by
calls such as `bytearray(10**11)` or `set(tensor)`. A tuple that is nested deeply enough even ends
the interpreter when it is hashed. Such files are recognised by the operations of their pickle.
"""

import pickle
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from seewhy.errors import SeewhyError

DEEPEST = 100  # containers in one another; those of checkpoints are not ten deep
MAGIC = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
PICKLES = 5  # in a file of the format before PyTorch 1.6: three of a header, content, storages
ANOTHER = "give a .safetensors file, or a state dict saved with torch.save"

# What a checkpoint may not call, and what it holds if it does.
REFUSED = {
    "torch._utils _rebuild_sparse_tensor": "sparse tensors",
    "torch._utils _rebuild_qtensor": "quantised tensors",
    "torch._utils _rebuild_nested_tensor": "nested tensors",
    "torch._utils _rebuild_meta_tensor_no_storage": "tensors without values (of the meta device)",
    "torch._utils _rebuild_wrapper_subclass": "tensors of a subclass",
    "torch._utils _rebuild_device_tensor_from_cpu_tensor": "tensors of a special device",
    "torch._utils _rebuild_device_tensor_from_numpy": "tensors of a special device",
    "builtins bytearray": "raw bytes",
    "__builtin__ bytearray": "raw bytes",
}
# These go through their argument item by item, which may be a tensor that repeats one value.
ITERATING = {
    *("builtins set", "__builtin__ set", "collections Counter", "collections OrderedDict"),
    *("torch Size", "torch.serialization _get_layout"),
}

CALLS = ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST")


def check_zip(file: Path) -> None:
    """Raise SeewhyError for a checkpoint in zip format that asks for more than its size."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            names = [member.filename.lower() for member in members]  # torch ignores case
            if any(name.endswith("/constants.pkl") for name in names):
                raise would_run(file, "it is TorchScript")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise SeewhyError(f"{file} is compressed; save it again with torch.save")
            if len(set(names)) < len(names) or _total(members) > file.stat().st_size:
                raise SeewhyError(f"{file} holds overlapping members; give the original file")
            for member in members:
                if member.filename.lower().endswith("data.pkl"):
                    with archive.open(member) as stream:
                        _check(stream, file)
    except SeewhyError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise _damaged(file, error) from None


def check_pickles(file: Path) -> None:
    """Raise SeewhyError for a checkpoint in the older format that asks for more than its size."""
    with file.open("rb") as stream:
        written_by_torch = stream.read(len(MAGIC)) == MAGIC
        stream.seek(0)
        try:
            # Of any other pickle, torch reads no more than the first object, and says what it is.
            for _ in range(PICKLES if written_by_torch else 1):
                _check(stream, file)
        except SeewhyError:
            raise
        except Exception as error:  # a damaged file may raise anything
            raise _damaged(file, error) from None


def would_run(file: Path, code: str) -> SeewhyError:
    """Return the error for a file that runs code when it is loaded; `code` says which."""
    return SeewhyError(
        f"{file} would run code ({code}); if you trust it, load it yourself and save its state "
        "dict as .safetensors"
    )


def _total(members: list[zipfile.ZipInfo]) -> int:
    return sum(max(member.file_size, member.compress_size) for member in members)


def _damaged(file: Path, error: Exception) -> SeewhyError:
    reason = " ".join(str(error).split())[:80] or type(error).__name__
    return SeewhyError(f"{file} is truncated or damaged ({reason}); give a complete file")


@dataclass(frozen=True)
class _Value:
    """What is known about an object of the pickle.

    - `depth`: how deeply containers are nested in it. - `tensor`: whether it is a tensor.
    - `holds_tensor`, `iterates`: whether it is or holds a tensor, or one of `ITERATING`.
    """

    depth: int = 0
    tensor: bool = False
    holds_tensor: bool = False
    iterates: bool = False
    makes_tensor: bool = False  # a function that returns a tensor


_PLAIN = _Value()
_MARK = object()


def _check(stream: IO[bytes], file: Path) -> None:
    """Run through the operations of one pickle with what is known about the objects."""
    stack: list[Any] = []
    memo: dict[Any, _Value] = {}
    for operation, argument, _ in pickletools.genops(stream):
        name = operation.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "GLOBAL":
            argument = str(argument)
            if argument in REFUSED:
                raise SeewhyError(f"{file} holds {REFUSED[argument]}; {ANOTHER}")
            makes = "_rebuild" in argument or argument.endswith(("Tensor", "Parameter"))
            stack.append(_Value(iterates=argument in ITERATING, makes_tensor=makes))
        elif not operation.stack_before:
            stack.extend(_PLAIN for _ in operation.stack_after)
        else:
            taken = _taken(operation, stack)
            _require_modest(name, taken, file)
            stack.extend(_result(name, taken) for _ in operation.stack_after)


def _taken(operation: pickletools.OpcodeInfo, stack: list[Any]) -> list[_Value]:
    """Remove the operation's operands from the stack, and return them without the mark."""
    before = operation.stack_before
    taken: list[_Value] = []
    if pickletools.markobject in before:
        while (top := stack.pop()) is not _MARK:
            taken.append(top)
        before = before[: before.index(pickletools.markobject)]
    taken += [stack.pop() for _ in before]
    return taken[::-1]


def _require_modest(name: str, taken: list[_Value], file: Path) -> None:
    if max((value.depth for value in taken), default=0) > DEEPEST:
        raise SeewhyError(f"{file} holds containers nested more than {DEEPEST} deep; {ANOTHER}")
    iterates = any(value.iterates for value in taken)
    if name in CALLS and iterates and any(value.holds_tensor for value in taken):
        raise SeewhyError(f"{file} holds a collection made of a tensor; {ANOTHER}")
    if name == "BUILD" and taken[-1].tensor:
        raise SeewhyError(f"{file} holds an object made of a tensor; {ANOTHER}")


def _result(name: str, taken: list[_Value]) -> _Value:
    """Return what is known about the object that the operation makes of its operands."""
    holds = any(value.holds_tensor for value in taken)
    makes = any(value.makes_tensor for value in taken)
    depths = [value.depth for value in taken]
    if name == "BINPERSID":  # a storage; its description is not kept
        return _PLAIN
    if name in CALLS:
        return _Value(1 + max(depths, default=0), tensor=makes, holds_tensor=holds or makes)
    iterates = any(value.iterates for value in taken)
    if name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"):
        first, *others = taken
        depth = max(first.depth, 1 + max((value.depth for value in others), default=0))
        return _Value(depth, first.tensor, holds, iterates, makes)
    return _Value(1 + max(depths, default=0), False, holds, iterates, makes)
