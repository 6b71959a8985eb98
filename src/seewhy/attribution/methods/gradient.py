"""Gradient (saliency): which pixels would change the class score most if they changed a little?

    max over channels of |d logit / d pixel|

Karen Simonyan, Andrea Vedaldi, Andrew Zisserman: Deep Inside Convolutional Networks, 2013,
arXiv 1312.6034. The gradient is with respect to pixels in [0, 1], so it includes the division by
the std in the model's normalisation.

    seewhy.explain(model, "dog.jpg", "gradient", reduction="norm")
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.attribution.methods.reduction import Reduction, check_reduction, reduce
from seewhy.autodiff.rules import GRADIENT, Rules
from seewhy.engine.recording import INPUT, Recording, Request
from seewhy.models.model import Model


@dataclass(frozen=True)
class PulledBack(Method):
    """A method that backpropagates the logit to the pixels under its rules and reduces channels."""

    rules: ClassVar[Rules]

    reduction: Reduction = "max"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)

    @property
    def signed(self) -> bool:
        """Whether the reduction is a plain sum over channels, which keeps the sign."""
        return self.reduction == "sum"

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the gradient at the pixels, under the method's rules."""
        return [Request(INPUT, self.rules)]

    def attribute(self, recording: Recording) -> Attribution:
        """Return the backpropagated logit, reduced over the channels."""
        values = recording.gradient(INPUT, self.rules).float()
        return Attribution(values, reduce(values, self.reduction))


@dataclass(frozen=True)
class Gradient(PulledBack):
    """Sensitivity of the class score to each pixel."""

    name = "gradient"
    question = "Which pixels would change the score most if they changed a little?"
    source = "Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034"
    rules = GRADIENT
