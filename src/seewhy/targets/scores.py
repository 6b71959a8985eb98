"""The explained score of each picture, as a function of the network's outputs.

    score = sum over classes k of w_k * logit_k     for classes
    score = f(activation of a hidden layer)         for units and directions

`watching` makes hooks that keep those activations, with their graph, while the network runs.
`resolve` turns the targets of a batch into a `Score`. `Score.of` is differentiable and applies to
the outputs for the recorded pixels or for any others.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address
from seewhy.models.class_names import class_name
from seewhy.models.edits import not_as_a_batch
from seewhy.models.hooks import OutputHook
from seewhy.models.layers import Layer, LayerGraph
from seewhy.models.model import Model
from seewhy.models.outputs import RAW, log_probabilities_of, probabilities_of
from seewhy.targets.questions import hidden_of
from seewhy.targets.terms import Hidden, Logit, Predicted, Target, terms, written


@dataclass(frozen=True)
class Outputs:
    """The outputs of a forward pass: the logits, and the watched activations."""

    logits: Float[Tensor, "pictures classes"]
    activations: Mapping[Address, Tensor]
    layer_graph: LayerGraph | None

    def maps(self, place: Address) -> Float[Tensor, "pictures channels h w"]:
        """Return the activation as maps; one without rows and columns becomes a single row."""
        activation = self.activations.get(place)
        if self.layer_graph is None or activation is None or len(activation) != len(self.logits):
            raise SeewhyError(not_as_a_batch(str(place)))
        return _as_maps(activation, self.layer_graph.layer(place.layer))


@dataclass(frozen=True)
class Score:
    """One score per picture.

    - `target`: the index of the class if the score is a single logit, else -1.
    - `labels`: a description of the score if `target` is -1, else "".
    - `weights`: the weight of each logit. - `hidden`: the terms on hidden layers, with their weight
    in the score of each picture. - `weighted`: whether any weight of a logit is non-zero; stored,
    so that no GPU synchronisation is needed. - `kind`: what the network puts out, one
    of `seewhy.models.outputs.OUTPUTS`.
    """

    target: Int[Tensor, " batch"]
    labels: tuple[str, ...]
    weights: Float[Tensor, "batch classes"]
    hidden: tuple[tuple[Hidden, Float[Tensor, " batch"]], ...]
    weighted: bool
    kind: str = "logits"

    @property
    def raw(self) -> bool:
        """Whether no probabilities are made of the outputs."""
        return self.kind in RAW

    def rows(self, pictures: Int[Tensor, " rows"]) -> "Score":
        """Return the scores of these pictures, in this order; pictures may be repeated."""
        return Score(
            target=self.target[pictures],
            labels=tuple(self.labels[i] for i in pictures.tolist()),
            weights=self.weights[pictures],
            hidden=tuple((term, weights[pictures]) for term, weights in self.hidden),
            weighted=self.weighted,
            kind=self.kind,
        )

    def probability(self, outputs: Outputs) -> Float[Tensor, " pictures"]:
        """Return the scores with probabilities instead of logits; hidden terms are unchanged."""
        return self.of(replace(outputs, logits=probabilities_of(outputs.logits, self.kind)))

    def log_probability(self, outputs: Outputs) -> Float[Tensor, " pictures"]:
        """Return the log-probability where the target is a class, else the score."""
        if self.raw or not self.weighted:
            return self.of(outputs)
        logs = log_probabilities_of(outputs.logits, self.kind)
        found = logs.gather(1, self.target.clamp(min=0)[:, None])[:, 0]
        return torch.where(self.target >= 0, found, self.of(outputs))

    def of(self, outputs: Outputs) -> Float[Tensor, " pictures"]:
        """Return the scores of the batch, or of several copies of the batch in a row."""
        times = len(outputs.logits) // len(self.target)
        parts = []
        # Without weights, logits are left out, so that the score does not depend on them.
        if self.weighted:
            parts.append((self.weights.repeat(times, 1) * outputs.logits).sum(1))
        for term, weights in self.hidden:
            values = term.of(outputs.maps(term.place))
            weights = weights.to(values).repeat(times)
            # A term of weight 0 adds 0 even if its value is NaN or infinite.
            parts.append(torch.where(weights != 0, weights * values, 0))
        return sum(parts[1:], parts[0])

    def independent_of(self, place: str) -> str:
        """Return the error message if no picture's score depends on the activation at `place`."""
        if not self.hidden:
            return f"the explained score does not depend on {place}"
        named = ", ".join(str(term) for term, _ in self.hidden)
        return f"{named} does not depend on {place}; name a shallower layer (layer=, or --layer)"


def resolve(question: Sequence[Target], logits: Tensor, model: Model) -> Score:
    """Return the targets of the pictures as a `Score`.

    Raises SeewhyError for a class that does not exist, and for a sum whose terms cancel.
    """
    batch, classes = logits.shape
    wide = torch.promote_types(logits.dtype, torch.float32)
    target, labels = torch.full((batch,), -1), [""] * batch
    weights = torch.zeros(batch, classes, dtype=wide)
    hidden = {term: torch.zeros(batch, dtype=wide) for term in hidden_of(question)}
    if model.outputs == "features" and len(hidden) < len(
        {t for q in question for _, t in terms(q)}
    ):
        raise SeewhyError(
            f"{model.name} has no classifier: its outputs are features; name a unit or a direction "
            "of seewhy.Model(net, outputs='features'), such as output:5, or use outputs='scores'"
        )
    best = logits.argmax(1).tolist()
    for i, asked in enumerate(question):
        parts = terms(asked)
        for weight, term in parts:
            if isinstance(term, Hidden):
                hidden[term][i] += weight
            else:
                weights[i, _index(term, best[i], classes, model)] += weight
        match parts:
            case ((1.0, Predicted() | Logit() as term),):
                target[i] = _index(term, best[i], classes, model)
            case _:
                labels[i] = _label(parts, best[i], classes, model)
                if not weights[i].any() and not any(w[i] != 0 for w in hidden.values()):
                    raise SeewhyError(f"{labels[i]} is zero for every picture; name other terms")
    device = logits.device
    return Score(
        target=target.to(device),
        labels=tuple(labels),
        weights=weights.to(device),
        hidden=tuple((term, w.to(device)) for term, w in hidden.items() if bool(w.any())),
        weighted=bool(weights.any()),
        kind=model.outputs,
    )


def watching(
    places: Collection[Address],
    layer_graph: LayerGraph,
    found: dict[Address, Tensor],
    unrecorded: Callable[[], AbstractContextManager],
) -> dict[str, OutputHook]:
    """Return hooks that store the activations at `places` in `found`, with their graph.

    The copies are not operations of the network, so they are made inside `unrecorded()`.
    """
    calls = {place: layer_graph.call(place) for place in places}

    def hook_for(layer: str) -> OutputHook:
        def hook(tensor: Tensor, call: int) -> None:
            for place in places:
                if place.layer == layer and calls[place] == call:
                    with unrecorded():
                        found[place] = tensor.clone()  # later operations may overwrite it

        return hook

    return {place.layer: hook_for(place.layer) for place in places}


def _index(term: Target, best: int, count: int, model: Model) -> int:
    """Return the class index of the term, of `count`; `best` is the most probable class."""
    return best if isinstance(term, Predicted) else model.class_index(_named(term), count)


def _named(term: Target) -> int | str:
    assert isinstance(term, Logit), term
    return term.of_class


def _label(parts: Sequence[tuple[float, Target]], best: int, count: int, model: Model) -> str:
    """Describe the sum, as in "0.5 dog + layer3:17", with the first synonym of each class."""
    named = [
        (weight, str(term))
        if isinstance(term, Hidden)
        else (
            weight,
            class_name(_index(term, best, count, model), model.classes).split(",")[0],
        )
        for weight, term in parts
    ]
    return written(named)


def _as_maps(activation: Tensor, layer: Layer) -> Float[Tensor, "pictures channels h w"]:
    if layer.grid:
        return layer.grid.maps(activation)
    if activation.ndim == 1:
        activation = activation[:, None]
    channels_first = activation.mT if len(layer.shape) == 2 else activation
    return channels_first.reshape(*channels_first.shape[:2], 1, -1)
