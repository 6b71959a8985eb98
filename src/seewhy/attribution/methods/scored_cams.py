"""The base class of gradient-free CAMs: each channel is weighted by scores of forward passes.

They read the maps A of one layer, and differ in the weight of a channel: from the score of a
picture masked by the channel (Score-CAM), or from the score of a network without the channel
(Ablation-CAM). The map is the sum over channels of weight * A, by default rectified.
"""

from abc import abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model


@dataclass(frozen=True)
class ScoredCAM(Method):
    """Feature maps of one layer, each weighted by the score of its own forward pass.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    """

    reads_layer = True
    costly = True

    layer: str | None = None
    relu: bool = True

    @property
    def signed(self) -> bool:
        """Whether the map is not rectified."""
        return not self.relu

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the activation at the layer, without a gradient."""
        return [Request(self.layer or model.find_layer(pixels), rules=None)]

    def attribute(self, recording: Recording) -> Attribution:
        """Return the weighted maps and their sum."""
        layer = self.layer or recording.model.find_layer(recording.pixels)
        weights = recording.answer(self, lambda: list(self.weights(recording, layer)))
        values = weights[:, :, None, None] * recording.maps(layer)
        heatmap = values.sum(1)
        return Attribution(values, heatmap.relu() if self.relu else heatmap, layer)

    @abstractmethod
    def weights(
        self, recording: Recording, layer: str
    ) -> Float[Tensor, "questions batch channels"]:
        """Return the weight of each channel for each question."""
