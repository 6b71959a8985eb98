"""How close pictures are to an original, in the features of another network."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.activations.capture import capture
from seewhy.models.model import Model

TOGETHER = 16  # pictures in one forward pass


def closeness(
    judge: Model,
    pictures: Float[Tensor, "layers restarts c h w"],
    original: Float[Tensor, "c h w"],
) -> Float[Tensor, "layers restarts"]:
    """Return the cosine between the judge's features of each picture and of the original.

    The features are those of its last layer with rows and columns.
    Pictures are resized to the size that the judge takes.
    """
    size = judge.preparation.size
    everything = torch.cat([original[None], pictures.flatten(0, 1)])
    if size is not None and size != tuple(everything.shape[2:]):
        everything = F.interpolate(
            everything, size, mode="bilinear", antialias=True, align_corners=False
        ).clamp(0, 1)
    everything = everything.to(judge.device)
    layer = judge.find_layer(everything[:1])
    features = torch.cat(
        [capture(judge, part, [layer])[layer].float().cpu() for part in everything.split(TOGETHER)]
    ).flatten(1)
    return F.cosine_similarity(features[1:], features[:1]).view(pictures.shape[:2])
