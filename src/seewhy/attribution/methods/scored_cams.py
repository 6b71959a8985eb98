"""What the CAMs share that need no gradient: each channel is weighted by scores of forwards.

They read the maps A of one layer, and differ in one number for each channel: what the score says
about a picture that shows no more than the channel does (Score-CAM), or about a network without the
channel (Ablation-CAM). The map is the (rectified) sum over channels of weight * A.
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
    """Feature maps of one layer, each weighted by scores of its own forward.

    - `layer`: whose maps; None: found, and reported. - `relu`: keep only evidence for the class.
    """

    reads_layer = True
    costly = True

    layer: str | None = None
    relu: bool = True

    @property
    def signed(self) -> bool:
        """Unless it is rectified."""
        return not self.relu

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """The activation at the layer, without a gradient."""
        return [Request(self.layer or model.find_layer(pixels), rules=None)]

    def attribute(self, recording: Recording) -> Attribution:
        """The weighted maps."""
        layer = self.layer or recording.model.find_layer(recording.pixels)
        weights = recording.answer(self, lambda: list(self.weights(recording, layer)))
        values = weights[:, :, None, None] * recording.maps(layer)
        heatmap = values.sum(1)
        return Attribution(values, heatmap.relu() if self.relu else heatmap, layer)

    @abstractmethod
    def weights(
        self, recording: Recording, layer: str
    ) -> Float[Tensor, "questions batch channels"]:
        """How much each channel says for what is asked."""
