"""Eigen-CAM: where is the strongest pattern of the features, whatever the class?

    relu(sum over channels k of v_k * A_k),   v the first right singular vector of A

with A as a matrix of places x channels: the map of rank one that says most about A. No gradient
and no class goes in, so it shows what the layer responds to and not why the answer was given.
Mohammed Muhammad, Mohammed Yeasin: Eigen-CAM, 2020, arXiv 2008.00299.

A singular vector has no sign. It is given the one with which the map grows with the features:
sum over places of map * |A at the place| >= 0. `centred` takes the mean of each channel away
first, which makes v the first principal component, as pytorch-grad-cam has it.

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
    """The strongest pattern of a layer's features; the same for every class.

    - `layer`: whose maps; None: found, and reported. - `centred`: of the differences from each
    channel's mean.
    """

    name = "eigen-cam"
    question = "Where is the strongest pattern of the features, whatever the class?"
    source = "Muhammad, Yeasin 2020, arXiv 2008.00299"
    reads_layer = True

    layer: str | None = None
    centred: bool = False

    @property
    def signed(self) -> bool:
        """False: the map does not depend on the class."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """The activation at the layer, without a gradient."""
        return [Request(self.layer or model.find_layer(pixels), rules=None)]

    def attribute(self, recording: Recording) -> Attribution:
        """The maps, projected on their first singular vector."""
        layer = self.layer or recording.model.find_layer(recording.pixels)
        maps = recording.maps(layer).cpu().double()  # not every device has double or eigh
        norms = maps.norm(dim=1, keepdim=True)
        if self.centred:
            maps = maps - maps.mean((2, 3), keepdim=True)
        values = first_singular_vector(maps)[:, :, None, None] * maps
        grows = (values.sum(1, keepdim=True) * norms).sum((1, 2, 3), keepdim=True) >= 0
        values = torch.where(grows, values, -values).float()
        return Attribution(values, values.sum(1).relu(), layer)


def first_singular_vector(
    maps: Float[Tensor, "batch channels h w"],
) -> Float[Tensor, "batch channels"]:
    """Per picture, the unit vector v that maximises the norm of sum over k of v_k * A_k.

    From the smaller of the two Gram matrices, channels x channels or places x places. The sign
    is arbitrary; of maps that are zero everywhere, so is the vector.
    """
    rows = maps.flatten(2)
    channels, places = rows.shape[1:]
    if channels <= places:
        return torch.linalg.eigh(rows @ rows.mT).eigenvectors[..., -1]
    left = torch.linalg.eigh(rows.mT @ rows).eigenvectors[..., -1:]
    return torch.nn.functional.normalize((rows @ left)[..., 0], dim=1)
