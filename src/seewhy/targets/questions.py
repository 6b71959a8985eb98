"""What is asked about each picture of a batch, from what the user gave as the target."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from seewhy.errors import NotApplicable, SeewhyError
from seewhy.models.layers import LayerGraph
from seewhy.models.model import Model
from seewhy.targets.parsing import parse
from seewhy.targets.terms import (
    Hidden,
    MultiTarget,
    Named,
    Predicted,
    Sum,
    Target,
    TargetLike,
    combined,
    logit,
    terms,
)


def questions(target: TargetLike, count: int, model: Model, pixels: Tensor) -> list[list[Target]]:
    """For each of several targets, what is asked about each of `count` pictures.

    Raises SeewhyError for a number of targets that does not fit, Unknown for a unit or a
    direction in a layer that does not exist. Classes are looked up in `targets.scores`, when the
    number of logits is known.
    """
    several = target.targets if isinstance(target, MultiTarget) else (target,)
    return [_question(one, count, model, pixels) for one in several]


def hidden_of(question: Sequence[Target]) -> list[Hidden]:
    """The units and directions in hidden layers that are asked about, each once."""
    found = [term for target in question for _, term in terms(target)]
    return list(dict.fromkeys(term for term in found if isinstance(term, Hidden)))


def deepest_layer(hidden: Collection[Hidden], layer_graph: LayerGraph) -> str:
    """The address of the deepest layer with rows and columns that comes before all of `hidden`.

    Also their own layer, if they share one. Raises NotApplicable where there is none.
    """
    order = list(layer_graph.layers)
    first = min(hidden, key=lambda one: order.index(one.place.layer)).place
    before = [layer_graph.layers[name] for name in order[: order.index(first.layer) + 1]]
    if layer_graph.spatial in [layer.name for layer in before[:-1]]:
        return layer_graph.spatial
    for layer in reversed(before):
        if layer.grid and not layer.passive:
            return str(first) if layer.name == first.layer else layer.name
    raise NotApplicable(
        f"no layer before {first} keeps the picture's rows and columns; name one "
        "(layer=, or --layer)"
    )


def _question(target: Any, count: int, model: Model, pixels: Tensor) -> list[Target]:
    if target is None:
        return [Predicted()] * count
    if isinstance(target, Tensor | np.ndarray | np.generic):
        target = target.tolist()
    if isinstance(target, str) or not isinstance(target, Sequence):
        return [_asked(target, model, pixels)] * count
    if len(target) != count:
        raise SeewhyError(f"{len(target)} targets for {count} pictures; give one, or one for each")
    return [_asked(one, model, pixels) for one in target]


def _asked(target: Any, model: Model, pixels: Tensor) -> Target:
    """What one target asks about one picture."""
    if isinstance(target, str):
        return parse(target, model, pixels)
    if not isinstance(target, Target):
        return logit(target)
    if isinstance(target, Hidden):
        model.layer_graph(pixels).call(target.place)  # refuses layers and calls that do not exist
        return target
    if isinstance(target, Named):
        return _asked(target.text, model, pixels)
    if isinstance(target, Sum):
        return combined(
            (weight * w, term)
            for weight, one in target.parts
            for w, term in terms(_asked(one, model, pixels))
        )
    return target
