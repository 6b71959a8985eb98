"""What the gradient-weighted CAMs share: maps of one layer, weighted by the logit's gradient.

They read the activation A and the gradient g = d logit / d A at one layer, and differ in one
formula, `weighted`: what each cell of each channel contributes. The map is the (rectified) sum
over channels.
"""

from abc import abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model

Maps = Float[Tensor, "batch channels h w"]


@dataclass(frozen=True)
class GradientCAM(Method):
    """Feature maps of one layer, weighted by their gradient.

    - `layer`: whose maps; None: found, and reported. - `relu`: keep only evidence for the class.
    """

    reads_layer = True

    layer: str | None = None
    relu: bool = True

    @property
    def signed(self) -> bool:
        """Unless it is rectified."""
        return not self.relu

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Activation and gradient at the layer."""
        return [Request(self.layer or model.find_layer(pixels))]

    def attribute(self, recording: Recording) -> Attribution:
        """The weighted maps."""
        layer = self.layer or recording.model.find_layer(recording.pixels)
        gradients = recording.maps(layer, recording.gradient(layer))
        values = self.weighted(recording.maps(layer), gradients)
        heatmap = values.sum(1)
        return Attribution(values, heatmap.relu() if self.relu else heatmap, layer)

    @abstractmethod
    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """What each cell of each channel contributes."""
