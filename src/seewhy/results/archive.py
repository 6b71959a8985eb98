"""Convert any result to named tensors and JSON, and back, bit for bit.

A result is a dataclass of tensors, numbers, strings, tuples, mappings and other dataclasses of
this package. Each tensor is stored under the path of fields that leads to it. A value that holds
a function has a method `stored()` that returns what to store instead.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from seewhy.errors import SeewhyError

FORMAT = "seewhy-result-1"


def pack(result: Any) -> tuple[dict[str, Tensor], str]:
    """Return the tensors, on the CPU, and everything else as JSON."""
    tensors: dict[str, Tensor] = {}
    tree = {"format": FORMAT, "result": _packed(result, "result", tensors)}
    return tensors, json.dumps(tree, allow_nan=False)


def unpack(tensors: Mapping[str, Tensor], metadata: str) -> Any:
    """Rebuild the result that `pack` converted; raises SeewhyError for other data."""
    try:
        return _unpacked(json.loads(metadata)["result"], tensors)
    except SeewhyError:
        raise
    except Exception as error:  # other data may contradict a dataclass in any way
        raise other_data(error) from error


def other_data(error: Exception) -> SeewhyError:
    """Return the error for a file that holds something else, which led to `error`."""
    reason = " ".join(str(error).split())[:80]
    return SeewhyError(
        f"expected a saved result, got other data ({type(error).__name__}: {reason}); "
        "give a file that save() wrote"
    )


def _packed(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if hasattr(value, "stored"):
        value = value.stored()
    match value:
        case float() if not math.isfinite(value):
            return {"#float": repr(value)}
        case bool() | int() | float() | str() | None:
            return value
        case Tensor():
            tensors[path] = value.detach().cpu().contiguous()
            return {"#tensor": path}
        case torch.device() | torch.dtype():
            return str(value)
        case tuple() | list():
            items = [_packed(v, f"{path}.{i}", tensors) for i, v in enumerate(value)]
            return {"#tuple": items} if isinstance(value, tuple) else items
        case Mapping():
            pairs = [(_packed(k, path, tensors), k, v) for k, v in value.items()]
            return {"#map": [[k, _packed(v, f"{path}.{name}", tensors)] for k, name, v in pairs]}
    if dataclasses.is_dataclass(value) and _in_this_package(type(value)):
        attributes = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        fields = {name: _packed(v, f"{path}.{name}", tensors) for name, v in attributes.items()}
        return {"#class": [type(value).__module__, type(value).__qualname__], "fields": fields}
    raise SeewhyError(f"{path} is a {type(value).__name__}, which an archive cannot store")


def _unpacked(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    match tree:
        case {"#float": text}:
            return float(text)
        case {"#tensor": path}:
            return tensors[path]
        case {"#tuple": items}:
            return tuple(_unpacked(v, tensors) for v in items)
        case {"#map": pairs}:
            return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in pairs}
        case {"#class": [module, name], "fields": fields}:
            # For safety, only dataclasses of this package are looked up and called.
            package, *rest = module.split(".")
            if package != "seewhy" or any(part.startswith("_") for part in rest):
                raise ValueError(f"{module}.{name} is not a class of this package")
            cls = getattr(import_module(module), name)
            is_dataclass = isinstance(cls, type) and dataclasses.is_dataclass(cls)
            if not (is_dataclass and _in_this_package(cls)):
                raise ValueError(f"{module}.{name} is not a dataclass of this package")
            return cls(**{name: _unpacked(v, tensors) for name, v in fields.items()})
        case list():
            return [_unpacked(v, tensors) for v in tree]
    return tree


def _in_this_package(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "seewhy"
