"""Eigen-CAM: where is the dominant pattern of the features, regardless of the class?

    relu(sum over channels k of v_k * A_k),   v the first right singular vector of A

with A as a matrix of positions x channels: the map of the best rank-one approximation of A. It uses
neither a gradient nor a class, so it shows what the layer responds to, not why it chose the class.
Mohammed Muhammad, Mohammed Yeasin: Eigen-CAM, 2020, arXiv 2008.00299.

The sign of a singular vector is arbitrary; here it is chosen such that the map correlates with the
features: sum over positions of map * |A at the position| >= 0. `centred` first subtracts the mean
of each channel, which makes v the first principal component, as in pytorch-grad-cam.

It misleads by looking plausible: the map is the same for every class, and for a wrong answer.

    seewhy.explain(model, "dog.jpg", "eigen-cam", layer="layer3")
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model


@dataclass(frozen=True)
class EigenCAM(Method):
    """The dominant pattern of a layer's features; the same for every class.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `centred`: subtract each channel's mean first.
    """

    name = "eigen-cam"
    question = "Where is the dominant pattern of the features, for any class?"
    source = "Muhammad, Yeasin 2020, arXiv 2008.00299"
    reads_layer = True

    layer: str | None = None
    centred: bool = False

    @property
    def signed(self) -> bool:
        """False: the map does not depend on the class."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the activation at the layer, without a gradient."""
        return [Request(self.layer or model.find_layer(pixels), rules=None)]

    def attribute(self, recording: Recording) -> Attribution:
        """Return the maps projected onto their first singular vector."""
        layer = self.layer or recording.model.find_layer(recording.pixels)
        maps = recording.maps(layer).cpu().double()  # not every device has double or eigh
        norms = maps.norm(dim=1, keepdim=True)
        if self.centred:
            maps = maps - maps.mean((2, 3), keepdim=True)
        values = first_singular_vector(maps)[:, :, None, None] * maps
        correlates = (values.sum(1, keepdim=True) * norms).sum((1, 2, 3), keepdim=True) >= 0
        values = torch.where(correlates, values, -values).float()
        return Attribution(values, values.sum(1).relu(), layer)


def first_singular_vector(
    maps: Float[Tensor, "batch channels h w"],
) -> Float[Tensor, "batch channels"]:
    """Return, per picture, the unit vector v that maximises the norm of sum over k of v_k * A_k.

    Computed from the smaller of the two Gram matrices, channels x channels or positions x
    positions. The sign is arbitrary; for maps that are zero everywhere, so is the vector.
    """
    rows = maps.flatten(2)
    channels, positions = rows.shape[1:]
    if channels <= positions:
        return torch.linalg.eigh(rows @ rows.mT).eigenvectors[..., -1]
    left = torch.linalg.eigh(rows.mT @ rows).eigenvectors[..., -1:]
    return torch.nn.functional.normalize((rows @ left)[..., 0], dim=1)
