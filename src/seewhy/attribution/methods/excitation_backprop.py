"""Excitation backpropagation: which neurons most probably made the class win?

The class has probability 1, and every neuron hands its probability down to the inputs that
excited it, in proportion to activation times positive weight (seewhy.autodiff.rules.excitation):

    p_x = x * W+^T (p / (W+ x))        map = sum over channels of p

The contrastive variant begins with the difference of two such p: one for the class, one for its
opposite, whose weights are the negated ones of the last linear operation. What excites both alike
cancels, and negative sums are cut off:

    map = relu(sum over channels of (p of the class - p of its opposite))

Jianming Zhang et al.: Top-down Neural Attention by Excitation Backprop, 2016, arXiv 1608.00507.
`skip` says how skip connections take part: "proportional" shares out by the terms of the sum,
"ignore-skip" sends all through the branch, as the authors' program does for ResNets.

Unless a layer is named, the one read is a stage before that of Grad-CAM, as in the paper: there
the maps are finer, and p has been handed down by what the last stage looked at.

The p of a layer that all ways lead through add up to 1; what is missing from that (from 0 in the
contrastive variant) is the residual. A weighted sum of logits begins with every class in
proportion to its part of the sum. A pixel excites through (w x)+ of its difference from the mean
colour.

It misleads about the class: only positive weights count, so that excitation backpropagation shows
what is conspicuous for any class. The contrastive variant is the one to compare classes with.

    seewhy.explain(model, "dog.jpg", "contrastive-excitation-backprop", layer="layer3")
    seewhy.explain(model, "dog.jpg", "excitation-backprop", layer="input")
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.attribution.methods.rectified import require_rectifiers
from seewhy.autodiff.rules import Rules
from seewhy.autodiff.rules.excitation import Skip, contrastive_excitation, excitation
from seewhy.engine.recording import INPUT, Recording, Request
from seewhy.models.model import Model


@dataclass(frozen=True)
class ExcitationBackprop(Method):
    """Probability handed down from the class to what excited it.

    - `layer`: where to stop, "input" for the pixels; None: found, and reported.
    - `skip`: how a sum with a skip connection is passed, proportional or ignore-skip.
    """

    name = "excitation-backprop"
    question = "Which neurons most probably made the class win?"
    source = "Zhang et al. 2016, arXiv 1608.00507"
    reads_layer = True
    total: ClassVar[int] = 1  # of the probability of a layer

    layer: str | None = None
    skip: Skip = "proportional"

    def __post_init__(self) -> None:
        check(
            self.skip in ("proportional", "ignore-skip"),
            f"{self.name}: skip is proportional or ignore-skip, not {self.skip!r}",
        )

    @property
    def signed(self) -> bool:
        """Probabilities are not."""
        return False

    @property
    def rules(self) -> Rules:
        """The rule set; the same object for the same policy."""
        return excitation(self.skip)

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """p at the layer; from the pixels on, so that constants are told from activations."""
        at = self.layer or stage_before(model, pixels)
        return [Request(at, self.rules), Request(INPUT, self.rules)]

    def attribute(self, recording: Recording) -> Attribution:
        """p, summed over channels, and how much of it was lost."""
        require_rectifiers(
            recording,
            f"{self.name} takes what rectifiers let pass for probabilities",
            "so activations may be negative",
        )
        at = self.layer or stage_before(recording.model, recording.pixels)
        relevance, _ = recording.relevance(at, self.rules)
        p = recording.maps(at, relevance) / _began_with(recording)[:, None, None, None]
        missing = (p.sum((1, 2, 3)) - self.total).abs()
        layer = None if at == INPUT else at
        return Attribution(p, p.sum(1).clamp(min=0), layer, missing)


@dataclass(frozen=True)
class ContrastiveExcitationBackprop(ExcitationBackprop):
    """Probability handed down from the class, less that from its opposite.

    - `layer`: where to stop, "input" for the pixels; None: found, and reported.
    - `skip`: how a sum with a skip connection is passed, proportional or ignore-skip.
    """

    name = "contrastive-excitation-backprop"
    question = "Which neurons made this class win rather than others?"
    total = 0

    @property
    def rules(self) -> Rules:
        """The rule set; the same object for the same policy."""
        return contrastive_excitation(self.skip)


def stage_before(model: Model, pixels: Tensor) -> str:
    """The deepest layer with finer maps than the one for CAM; of nested ones the outermost.

    That is `layer3` of a ResNet, and in VGG16 the last rectifier before the last pool.
    """
    coarse = model.find_layer(pixels)
    layers = list(model.layer_graph(pixels).layers.values())
    deepest = next(i for i, layer in enumerate(layers) if layer.name == coarse)
    grid = layers[deepest].grid
    finer = [
        (layer.name, layer.grid.height)
        for layer in layers[:deepest]
        if grid and layer.grid and layer.grid.height > grid.height and not layer.passive
    ]
    if not finer:
        return coarse
    stage = [name for name, height in finer if height == finer[-1][1]]
    outermost = min(name.count(".") for name in stage)
    return next(name for name in reversed(stage) if name.count(".") == outermost)


def _began_with(recording: Recording) -> Float[Tensor, " batch"]:
    """What was propagated in place of a probability of 1: the score.

    In a difference of logits the classes count as if they were added up: the quotient then says
    "for" and "against" rightly whichever logit is larger.
    """
    weights = recording.asked.weights
    of_classes = (weights.abs() * recording.logits).sum(1)
    began = torch.where(weights.any(1), of_classes, recording.score)
    return torch.where(began == 0, 1, began)
