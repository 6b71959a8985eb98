"""Classifiers of torchvision: "torchvision/resnet50"."""

import re
import sys
from typing import Any

import torch
import torchvision
from torch import nn

from seewhy.errors import SeewhyError, Unknown
from seewhy.models.records import from_preset
from seewhy.sources import fitting
from seewhy.sources.architecture import Architecture
from seewhy.sources.weights import StateDict

PREFIX = "torchvision"
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads that are used only in training
# These normalise their input again internally, as their published weights expect.
WITH_AUXILIARY = {"googlenet", "inception_v3"}
DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")  # names before torch 0.4.1


def names() -> list[str]:
    """Return the names of torchvision's classifiers, without the prefix."""
    return torchvision.models.list_models(module=torchvision.models)


def architecture(name: str) -> Architecture:
    """Return a classifier, with the preprocessing and class names of its published weights."""
    full = f"{PREFIX}/{name}"
    if name not in names():
        if name in torchvision.models.list_models():
            raise SeewhyError(f"{full} is not an image classifier; try {PREFIX}/resnet50")
        raise Unknown("model", full, [f"{PREFIX}/{known}" for known in names()])
    published: Any = torchvision.models.get_model_weights(name)
    published = published.DEFAULT
    record = from_preset(published.transforms())
    classes = list(published.meta["categories"])

    def trained() -> nn.Module:
        net = build(name, None)
        fitting.load(net, translate(_download(published.url, full)), published.url, full)
        return net

    return Architecture(
        full,
        build=lambda count: build(name, count),
        trained=trained,
        preparation=record.preparation,
        mean=record.mean,
        std=record.std,
        classes=classes,
        count=len(classes),
        translate=translate,
    )


def build(name: str, count: int | None) -> nn.Module:
    """Build the untrained network, without auxiliary heads."""
    options: dict[str, Any] = {} if count is None else {"num_classes": count}
    if name in WITH_AUXILIARY:
        options |= {"aux_logits": False, "transform_input": True, "init_weights": False}
    return torchvision.models.get_model(name, weights=None, **options)


def translate(state: StateDict) -> StateDict:
    """Drop auxiliary heads, and rename tensors of old DenseNet files (no dots in names)."""
    return {
        DENSENET.sub(r"\1\2", key): tensor
        for key, tensor in state.items()
        if not key.startswith(AUXILIARY)
    }


def _download(url: str, full: str) -> StateDict:
    try:
        return torch.hub.load_state_dict_from_url(
            url,
            map_location="cpu",
            progress=sys.stderr is not None and sys.stderr.isatty(),
            check_hash=True,
            weights_only=True,
        )
    except (OSError, RuntimeError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise SeewhyError(
            f"the weights of {full} could not be downloaded from {url} ({why}); pass "
            "--weights FILE, or weights='random' for an untrained network"
        ) from None
