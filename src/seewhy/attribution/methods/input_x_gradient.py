"""Input times gradient: how much does each pixel contribute, if the model is linear?

    sum over channels of (x - x0) * d logit / d x

The first-order approximation of the score's difference from the baseline x0. At a layer with
activation A, sum over channels of A * d logit / d A.
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
    """First-order contribution to the score, at the pixels or at any layer.

    - `baseline`: the reference for the pixels: mean, black, grey, white, blur or noise.
    - `layer`: the layer at which to linearise; None: the pixels.
    """

    name = "input-x-gradient"
    question = "How much does each pixel contribute, if the model is linear?"
    source = "Shrikumar et al. 2016, arXiv 1605.01713"

    baseline: str = "mean"
    layer: str | None = None

    def __post_init__(self) -> None:
        check_baseline(self.baseline)

    @property
    def signed(self) -> bool:
        """True: contributions have a sign."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the value and the gradient at the pixels or the layer."""
        return [Request(self.layer or INPUT)]

    def attribute(self, recording: Recording) -> Attribution:
        """Return (x - x0) * gradient, or A * gradient at a layer."""
        if self.layer:
            product = recording.activation(self.layer) * recording.gradient(self.layer)
            values = recording.maps(self.layer, product)
        else:
            pixels = recording.pixels.detach()
            reference = baseline(self.baseline, recording.model, pixels)
            values = ((pixels - reference) * recording.gradient()).float()
        return Attribution(values, values.sum(1), self.layer)
