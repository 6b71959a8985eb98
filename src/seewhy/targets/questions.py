"""Turn the target argument of the user into one target for each picture of a batch."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from seewhy.errors import NotApplicable, SeewhyError
from seewhy.models.layers import LayerGraph
from seewhy.models.model import Model
from seewhy.targets.parsing import parse
from seewhy.targets.segmentation import in_regions
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
    """Return one question per target of a `MultiTarget`: `count` targets, one for each picture.

    Raises SeewhyError if the number of targets is not the number of pictures, and Unknown for a
    unit or direction of a layer that does not exist. Classes are looked up in `targets.scores`,
    when the number of logits is known.
    """
    targets = target.targets if isinstance(target, MultiTarget) else (target,)
    asked = [_question(target, count, model, pixels) for target in targets]
    if model.outputs == "segmentation":
        return [in_regions(question, model, pixels) for question in asked]
    return asked


def hidden_of(question: Sequence[Target]) -> list[Hidden]:
    """Return the terms on hidden layers (such as units and directions), without duplicates."""
    all_terms = [term for target in question for _, term in terms(target)]
    return list(dict.fromkeys(term for term in all_terms if isinstance(term, Hidden)))


def deepest_layer(hidden: Collection[Hidden], layer_graph: LayerGraph) -> str:
    """Return the address of the deepest layer with a grid that all of `hidden` depend on.

    It may be the shallowest layer of `hidden` itself. Raises NotApplicable if no layer qualifies.
    """
    order = list(layer_graph.layers)
    first = min(hidden, key=lambda term: order.index(term.place.layer)).place
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
        return [_resolved(target, model, pixels)] * count
    if len(target) != count:
        raise SeewhyError(
            f"{len(target)} targets for {count} pictures; give one target, or one for each picture"
        )
    return [_resolved(item, model, pixels) for item in target]


def _resolved(target: Any, model: Model, pixels: Tensor) -> Target:
    """Return the target of one picture as a `Target`, with names and text parsed."""
    if isinstance(target, str):
        return parse(target, model, pixels)
    if not isinstance(target, Target):
        return logit(target)
    if isinstance(target, Hidden):
        model.layer_graph(pixels).call(target.place)  # raises if the layer or call does not exist
        return target
    if isinstance(target, Named):
        return _resolved(target.text, model, pixels)
    if isinstance(target, Sum):
        return combined(
            (weight * w, term)
            for weight, part in target.parts
            for w, term in terms(_resolved(part, model, pixels))
        )
    return target
