"""The base class of gradient-weighted CAMs: maps of one layer, weighted by the logit's gradient.

They read the activation A and the gradient g = d logit / d A at one layer, and differ in one
formula, `weighted`: the contribution of each position and channel. The map is the sum over
channels, by default rectified.
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

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    """

    reads_layer = True

    layer: str | None = None
    relu: bool = True

    @property
    def signed(self) -> bool:
        """Whether the map is not rectified."""
        return not self.relu

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the activation and the gradient at the layer."""
        return [Request(self.layer or model.find_layer(pixels))]

    def attribute(self, recording: Recording) -> Attribution:
        """Return the weighted maps and their sum."""
        layer = self.layer or recording.model.find_layer(recording.pixels)
        gradients = recording.maps(layer, recording.gradient(layer))
        values = self.weighted(recording.maps(layer), gradients)
        heatmap = values.sum(1)
        return Attribution(values, heatmap.relu() if self.relu else heatmap, layer)

    @abstractmethod
    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """Return the contribution of each position and channel."""
