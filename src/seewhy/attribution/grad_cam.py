"""Grad-CAM: where are the features that raise the score?

    relu(sum over channels k of mean(d logit / d A_k) * A_k)

at the deepest layer that still has rows and columns, or any other.
Ramprasaath Selvaraju et al.: Grad-CAM, 2016, arXiv 1610.02391. For transformers A are the
patch tokens as maps; the layer is the last at which patches still influence the score.

    seewhy.explain(model, "dog.jpg", "grad-cam", layer="layer3")
"""

from dataclasses import dataclass

from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.model import Model
from seewhy.recording import Reading, Recording


@dataclass(frozen=True)
class GradCAM(Method):
    """Feature maps weighted by their mean gradient.

    - `layer`: whose maps; None: found, and reported. - `relu`: keep only evidence for the class.
    """

    name = "grad-cam"
    question = "Where are the features that raise the score?"
    source = "Selvaraju et al. 2016, arXiv 1610.02391"
    reads_layer = True

    layer: str | None = None
    relu: bool = True

    @property
    def signed(self) -> bool:
        """Unless it is rectified."""
        return not self.relu

    def readings(self, model: Model, pixels: Tensor) -> list[Reading]:
        """Activation and gradient at the layer."""
        return [Reading(self.layer or model.find_layer(pixels))]

    def attribute(self, recording: Recording) -> Attribution:
        """The weighted maps."""
        layer = self.layer or recording.model.find_layer(recording.pixels)
        gradients = recording.maps(layer, recording.gradient(layer))
        values = gradients.mean((2, 3), keepdim=True) * recording.maps(layer)
        heatmap = values.sum(1)
        if self.relu:
            heatmap = heatmap.relu()
        return Attribution(values, heatmap, layer)
