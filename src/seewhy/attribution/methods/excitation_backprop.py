"""Excitation backpropagation: which neurons most probably caused the class to win?

The class has probability 1, and every neuron passes its probability to the inputs that excited it,
in proportion to activation times positive weight (seewhy.autodiff.rules.excitation):

    p_x = x * W+^T (p / (W+ x))        map = sum over channels of p

The contrastive variant propagates the difference of two such p: that of the class minus that of its
opposite, for which the weights of the last linear operation are negated. Neurons that excite both
equally cancel, and negative sums are set to zero:

    map = relu(sum over channels of (p of the class - p of its opposite))

Jianming Zhang et al.: Top-down Neural Attention by Excitation Backprop, 2016, arXiv 1608.00507.
`skip` sets how a sum with a skip connection is handled: "proportional" distributes p over the terms
in proportion to their size, "ignore-skip" passes all of it to the residual branch, as the authors'
implementation does for ResNets.

The default layer is one stage before that of Grad-CAM, as in the paper: the maps there are finer,
and p has passed through the last stage.

The p of a layer that all paths pass through add up to 1 (0 in the contrastive variant); the
deviation from that is the residual. For a weighted sum of logits, each class starts with p in
proportion to its term of the sum. A pixel excites through (w x)+, x its difference from the mean
colour.

It misleads about the class: only positive weights count, so excitation backpropagation shows what
is salient for any class. Use the contrastive variant to compare classes.

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
    """Probability propagated from the class to the neurons that excited it.

    - `layer`: the layer to stop at, "input" for the pixels; None: chosen and reported.
    - `skip`: how a sum with a skip connection is handled, proportional or ignore-skip.
    """

    name = "excitation-backprop"
    question = "Which neurons most probably caused the class to win?"
    source = "Zhang et al. 2016, arXiv 1608.00507"
    reads_layer = True
    total: ClassVar[int] = 1  # the sum of p over a layer

    layer: str | None = None
    skip: Skip = "proportional"

    def __post_init__(self) -> None:
        check(
            self.skip in ("proportional", "ignore-skip"),
            f"{self.name}: skip must be proportional or ignore-skip, not {self.skip!r}",
        )

    @property
    def signed(self) -> bool:
        """False: probabilities are not negative."""
        return False

    @property
    def rules(self) -> Rules:
        """The rule set; the same object for the same value of `skip`."""
        return excitation(self.skip)

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request p at the layer; recorded from the pixels on, to identify constants."""
        at = self.layer or stage_before(model, pixels)
        return [Request(at, self.rules), Request(INPUT, self.rules)]

    def attribute(self, recording: Recording) -> Attribution:
        """Return p, summed over channels, and the residual."""
        require_rectifiers(
            recording,
            f"{self.name} takes the outputs of ReLUs as probabilities",
            "so activations may be negative",
        )
        at = self.layer or stage_before(recording.model, recording.pixels)
        relevance, _ = recording.relevance(at, self.rules)
        p = recording.maps(at, relevance) / _initial(recording)[:, None, None, None]
        missing = (p.sum((1, 2, 3)) - self.total).abs()
        layer = None if at == INPUT else at
        return Attribution(p, p.sum(1).clamp(min=0), layer, missing)


@dataclass(frozen=True)
class ContrastiveExcitationBackprop(ExcitationBackprop):
    """Probability propagated from the class, minus that from its opposite.

    - `layer`: the layer to stop at, "input" for the pixels; None: chosen and reported.
    - `skip`: how a sum with a skip connection is handled, proportional or ignore-skip.
    """

    name = "contrastive-excitation-backprop"
    question = "Which neurons caused this class to win rather than others?"
    total = 0

    @property
    def rules(self) -> Rules:
        """The rule set; the same object for the same value of `skip`."""
        return contrastive_excitation(self.skip)


def stage_before(model: Model, pixels: Tensor) -> str:
    """Return the deepest layer with finer maps than the default CAM layer; outermost if nested.

    For example `layer3` of a ResNet, and in VGG16 the last ReLU before the last pooling layer.
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


def _initial(recording: Recording) -> Float[Tensor, " batch"]:
    """Return the propagated value that represents a probability of 1: the score.

    In a difference of logits, absolute weights are used: the sign of the quotient then means "for"
    or "against", whichever logit is larger.
    """
    weights = recording.asked.weights
    class_sum = (weights.abs() * recording.logits).sum(1)
    initial = torch.where(weights.any(1), class_sum, recording.score)
    return torch.where(initial == 0, 1, initial)
