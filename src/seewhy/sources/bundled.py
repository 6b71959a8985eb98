"""The small trained models that ship with seewhy: "scenes", "scenes-shortcut", "scenes-vit"."""

import copy
from typing import Any

from torch import nn

from seewhy import zoo
from seewhy.errors import SeewhyError
from seewhy.images import Preparation
from seewhy.sources.architecture import Architecture


def names() -> list[str]:
    """Return the names of the bundled models."""
    return zoo.names()


def architecture(name: str) -> Architecture:
    """Return a bundled model, with the preprocessing and class names from its model card."""
    net, card = zoo.load(name)
    size = _pair(card["size"])
    return Architecture(
        name,
        build=lambda count: _untrained(net, name, count),
        trained=lambda: net,
        preparation=Preparation(size, min(size) if size[0] == size[1] else size),
        mean=tuple(card["mean"]),
        std=tuple(card["std"]),
        classes=list(card["classes"]),
        count=len(card["classes"]),
    )


def _untrained(net: nn.Module, name: str, count: int | None) -> nn.Module:
    if count is not None:
        raise SeewhyError(f"{name} cannot be rebuilt for {count} classes; use its own weights")
    fresh = copy.deepcopy(net)
    for module in fresh.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return fresh


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)
