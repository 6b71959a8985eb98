"""Input times gradient: how much of the score is each pixel's part, taking it to be linear?

    sum over channels of (x - x0) * d logit / d x

The first-order part of the score's difference from the baseline x0. At a layer,
the linear approximation sum over channels of A * d logit / d A.
Avanti Shrikumar et al.: Not Just a Black Box, 2016, arXiv 1605.01713.

    seewhy.explain(model, "dog.jpg", "input-x-gradient", baseline="black")
    seewhy.explain(model, "dog.jpg", "input-x-gradient", layer="layer3")
"""

from dataclasses import dataclass

from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.engine.recording import INPUT, Recording, Request
from seewhy.models.model import Model
from seewhy.perturbation.baselines import baseline, check_baseline


@dataclass(frozen=True)
class InputXGradient(Method):
    """First-order share of the score, at the pixels or at any layer.

    - `baseline`: what the pixels are compared with: mean, black, grey, white, blur or noise.
    - `layer`: where to linearise; None: at the pixels.
    """

    name = "input-x-gradient"
    question = "How much of the score is each pixel's part, if the model is linear?"
    source = "Shrikumar et al. 2016, arXiv 1605.01713"

    baseline: str = "mean"
    layer: str | None = None

    def __post_init__(self) -> None:
        check_baseline(self.baseline)

    @property
    def signed(self) -> bool:
        """Always."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Value and gradient at the pixels or the layer."""
        return [Request(self.layer or INPUT)]

    def attribute(self, recording: Recording) -> Attribution:
        """(x - x0) * gradient, or A * gradient."""
        if self.layer:
            product = recording.activation(self.layer) * recording.gradient(self.layer)
            values = recording.maps(self.layer, product)
        else:
            pixels = recording.pixels.detach()
            reference = baseline(self.baseline, recording.model, pixels)
            values = ((pixels - reference) * recording.gradient()).float()
        return Attribution(values, values.sum(1), self.layer)
