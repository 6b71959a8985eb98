"""An architecture from a source, which becomes a `Model` when weights are loaded."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from seewhy.errors import SeewhyError
from seewhy.images import Preparation
from seewhy.models.model import Model
from seewhy.sources import fitting
from seewhy.sources.classes import Classes, read_classes
from seewhy.sources.weights import StateDict, read_weights

Weights = str | os.PathLike[str] | None  # a file, "random", or None: the published ones
RANDOM = "random"


@dataclass(frozen=True)
class Architecture:
    """What a source provides for a model, before weights are loaded.

    - `build`: builds an untrained network with this number of classes; None: the default number.
    - `trained`: returns the network with its published weights, which may be downloaded.
    - `count`: the default number of classes; None if unknown.
    - `translate`: renames or drops the tensors of files in older formats.
    """

    name: str
    build: Callable[[int | None], nn.Module]
    trained: Callable[[], nn.Module]
    preparation: Preparation | None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: list[str] | None = None
    count: int | None = None
    translate: Callable[[StateDict], StateDict] = dict

    def open(self, weights: Weights = None, classes: Classes | None = None) -> Model:
        """Return the model with these weights and class names.

        Raises `SeewhyError` if the weights are not available or do not fit, or if the number of
        class names differs from the number of classes.
        """
        names = None if classes is None else read_classes(classes)
        if weights is None:
            net, count, name = self.trained(), self.count, self.name
        elif str(weights) == RANDOM:
            net, count = self._random(names), self.count if names is None else len(names)
            name = f"{self.name} (random weights)"
        else:
            net, count = self._from_file(weights)
            name = f"{self.name} ({Path(weights).name})"
        if names is None:
            names = self.classes if count == self.count else None
        elif count is not None and len(names) != count:
            raise SeewhyError(
                f"{name} has {count} classes, but {len(names)} class names were given"
            )
        return Model(
            net.eval(),
            mean=self.mean,
            std=self.std,
            classes=names,
            name=name,
            preparation=self.preparation,
        )

    def _random(self, names: list[str] | None) -> nn.Module:
        count = None if names is None or len(names) == self.count else len(names)
        return seeded(lambda: self.build(count))

    def _from_file(self, file: str | os.PathLike[str]) -> tuple[nn.Module, int | None]:
        state, net, count = read_weights(file), seeded(lambda: self.build(None)), self.count
        state = self.translate(fitting.without_prefixes(state, net.state_dict()))
        other = fitting.other_class_count(fitting.compare(net, state), count)
        if other is not None:
            net, count = seeded(lambda: self.build(other)), other
        fitting.load(net, state, file, self.name)
        return net, count


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network with seed 0, without changing the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # torch.manual_seed would seed every GPU too
        return build()
