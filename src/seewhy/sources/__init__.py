"""Open models: bundled ones, or from torchvision, timm, transformers or your own function.

    open_model("scenes")
    open_model("efficientnet-lite0")
    open_model("torchvision/resnet50", weights="resnet50.safetensors", device="cuda")
    open_model("timm/vit_small_patch16_224")
    open_model("hf/microsoft/resnet-18")
    open_model("mypackage.models:make_net", classes="classes.txt")

A source is a module with `names()` and `architecture(name)`; to add one, add its line here.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seewhy.errors import SeewhyError, Unknown
from seewhy.sources.classes import Classes, read_classes
from seewhy.sources.devices import as_device
from seewhy.sources.weights import read_weights

if TYPE_CHECKING:
    from seewhy.models.model import Model
    from seewhy.sources.architecture import Architecture

__all__ = [
    "as_device",
    "available",
    "find_architecture",
    "open_model",
    "read_classes",
    "read_weights",
]

# Models without a slash in their names: the bundled ones, and the network of the extra `photos`.
UNPREFIXED = {"bundled": "bundled", "photos": "efficientnet_lite"}
# Source module by the prefix before the slash; imported on demand to keep `import seewhy` fast.
SOURCES = {"torchvision": "torchvision", "timm": "timm", "hf": "huggingface"}
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def open_model(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device = "cpu",
    classes: Classes | None = None,
) -> "Model":
    """Open a model by name, with its preprocessing and class names, in evaluation mode.

    - `name`: "scenes", "scenes-shortcut", "scenes-vit", "efficientnet-lite0", "torchvision/NAME",
      "timm/NAME", "hf/NAME" (an id on the hub or a local folder), or "package.module:function".
    - `weights`: a .safetensors file or PyTorch checkpoint; "random" for an untrained network
      (seed 0); None for the published weights, which may be downloaded. Files are read without
      running code. With weights for another number of classes, the last layer is rebuilt.
    - `device`: "cpu", "cuda", "cuda:1" or "mps".
    - `classes`: names in the order of the logits, or a .txt or .json file with them.

    Raises `SeewhyError` with a one-line message if any of these is invalid.
    """
    if weights is not None and not isinstance(weights, str | os.PathLike):
        raise SeewhyError(f"weights must be a file or 'random', not {weights!r}")
    torch_device = as_device(device)
    model = _open(str(name), weights, classes)
    model.net.to(torch_device)
    return model


def available(prefix: str | None = None) -> list[str]:
    """List the names that `open_model` takes, of one source ("torchvision") or of all installed.

    "hf" lists nothing, because its models are on the hub. Your own functions are not listed either.

    Raises `Unknown` for another source, `SeewhyError` if its library is not installed.
    """
    if prefix is None:
        return [name for source in (*UNPREFIXED, *SOURCES) for name in _installed(source)]
    key = prefix.rstrip("/")
    if key in UNPREFIXED:
        return _source(UNPREFIXED[key]).names()
    if key not in SOURCES:
        raise Unknown("source", prefix, [*UNPREFIXED, *SOURCES], hint=_sources())
    return [f"{key}/{name}" for name in _source(SOURCES[key]).names()]


def find_architecture(name: str) -> "Architecture":
    """Return the architecture of a model by name: preprocessing and classes, without weights.

    Raises `Unknown` with the closest names, `SeewhyError` if its library is not installed.
    """
    prefix, slash, rest = name.partition("/")
    if slash and prefix in SOURCES:
        return _source(SOURCES[prefix]).architecture(rest)
    if name in _source("bundled").names():
        return _source("bundled").architecture(name)
    lite = _source("efficientnet_lite")
    if name == lite.NAME:  # not in names() unless its packages are installed
        return lite.architecture(name)
    if name.endswith(WEIGHT_SUFFIXES):
        raise SeewhyError(
            f"{name} is a file of weights, not a model; name the model too, such as "
            f"torchvision/resnet50 with weights={Path(name).name}"
        )
    raise Unknown("model", name, available(), hint=_sources())


def _open(name: str, weights: Any, classes: Classes | None) -> "Model":
    if ":" in name and "/" not in name and not name.endswith(WEIGHT_SUFFIXES):
        return _source("own").open_own(name, weights, classes)
    return find_architecture(name).open(weights, classes)


def _installed(source: str) -> list[str]:
    try:
        return available(source)
    except SeewhyError:
        return []


def _source(module: str) -> Any:
    return importlib.import_module(f"seewhy.sources.{module}")


def _sources() -> str:
    return f"names start with {', '.join(f'{prefix}/' for prefix in SOURCES)}, or are bundled"
