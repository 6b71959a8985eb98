"""Intermediate statistics of pictures: how unlike photographs they are, and how alike each other.

sorted activations   of each channel of a layer, over its rows and columns: what is there,
                     wherever it is; the distance is the mean absolute difference from the mean
                     of photographs (the feature distribution that VITAL matches: Gorgun,
                     Schiele, Fischer, ICCV 2025)
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.activations.capture import capture
from seewhy.images import Preparation, each_of, in_batches, prepare
from seewhy.models.model import Model

TOGETHER = 16  # pictures in one forward pass
PHOTOGRAPHS = 64  # at most, spread over those that are given
CHANNELS = 128  # at most, the first ones


def halfway(model: Model, layer: str, probe: Float[Tensor, "1 c h w"]) -> str:
    """Return the layer with rows and columns halfway from the input to the given one."""
    layers = list(model.layer_graph(probe).layers.values())
    last = next(i for i, other in enumerate(layers) if other.name == layer)
    spatial = [other.name for other in layers[: last + 1] if other.grid and not other.passive]
    return spatial[len(spatial) // 2] if spatial else layer


def unlike_photographs(
    model: Model,
    layer: str,
    pictures: Float[Tensor, "count c h w"],
    images: Any,
) -> Float[Tensor, " count"]:
    """Return each picture's distance from photographs, over the median distance of these.

    1 is as far as a photograph; the photographs are prepared at the size of the pictures.
    """
    size = (pictures.shape[2], pictures.shape[3])
    preparation = Preparation(size, max(size), model.preparation.channels)
    things = each_of(images)
    chosen = [things[i] for i in range(0, len(things), max(1, len(things) // PHOTOGRAPHS))]
    read = in_batches(chosen[:PHOTOGRAPHS], lambda t: prepare(t, preparation), TOGETHER, [])
    natural = torch.cat([_sorted(model, layer, batch.pixels) for _, batch in read])
    mean = natural.mean(0)
    usual = (natural - mean).abs().mean((1, 2)).median()
    parts = [
        (_sorted(model, layer, some) - mean).abs().mean((1, 2)) for some in pictures.split(TOGETHER)
    ]
    return torch.cat(parts) / usual.clamp_min(1e-12)


def agreement(
    model: Model, layer: str, pictures: Float[Tensor, "count c h w"], targets: Sequence[str]
) -> Float[Tensor, " count"]:
    """Return the mean cosine of each picture with the others of its target, NaN for a lone one.

    The cosine is between the means of the layer's channels over rows and columns.
    """
    parts = [_maps(model, layer, some).mean(2) for some in pictures.split(TOGETHER)]
    features = F.normalize(torch.cat(parts), dim=1)
    same = torch.tensor([[a == b for b in targets] for a in targets])
    same.fill_diagonal_(fill_value=False)
    cosines = torch.where(same, features @ features.T, 0.0).sum(1)
    return cosines / same.sum(1)


def _sorted(model: Model, layer: str, pixels: Tensor) -> Float[Tensor, "pictures channels cells"]:
    return _maps(model, layer, pixels)[:, :CHANNELS].sort(2).values


def _maps(model: Model, layer: str, pixels: Tensor) -> Float[Tensor, "pictures channels cells"]:
    activation = capture(model, pixels, [layer])[layer].float().cpu()
    grid = model.layer_graph(pixels).layer(layer).grid
    if grid:
        return grid.maps(activation).flatten(2)
    return activation.reshape(len(activation), -1, 1)
