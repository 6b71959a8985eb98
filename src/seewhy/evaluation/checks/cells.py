"""Do the cells of the default CAM layer lie where the picture was changed?"""

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.activations.capture import capture
from seewhy.errors import NotApplicable
from seewhy.evaluation.checks.check import Check, at_most, not_applicable
from seewhy.evaluation.checks.subject import Subject
from seewhy.models.locating import NEAR, cells_of, changed_pictures

TOPIC, NAME = "layer", "cells of the default layer"
MEASURED = "three patches changed one by one: farthest cell with the strongest change, in cells"
CLEAR = 0.5  # a cell's share of all its changes; of three patches, a third says nothing
MOVED = (
    "a change of the picture changes other cells than those at its place, so maps of this layer "
    "would be drawn at the wrong place; name another layer"
)


def cells_follow_the_picture(subject: Subject) -> list[Check]:
    """The distance between the changed cell and the one that changes most."""
    model, picture = subject.model, subject.picture
    try:
        at = model.find_layer(picture)
    except NotApplicable as reason:
        return [not_applicable(TOPIC, NAME, MEASURED, str(reason))]
    grid = model.layer_graph(picture).layer(at).grid
    assert grid is not None
    cells = (grid.height, grid.width)
    size = (picture.shape[-2], picture.shape[-1])
    pictures = changed_pictures(picture.shape[1], size, cells).to(picture)
    activations = [capture(model, one[None], [at])[at] for one in pictures]
    maps = grid.maps(torch.cat(activations))
    distance, share = _farthest((maps[1:] - maps[:1]).float().square().sum(1), cells_of(cells))
    name = f"{NAME} ({at}, {grid.height} x {grid.width})"
    if share < CLEAR:
        reason = "each change spreads over the whole layer, so nothing can be told"
        return [not_applicable(TOPIC, name, MEASURED, reason, distance)]
    return [at_most(TOPIC, name, MEASURED, distance, NEAR, MOVED)]


def _farthest(
    change: Float[Tensor, "patches rows columns"], cells: list[tuple[int, int]]
) -> tuple[float, float]:
    """The largest distance, and the smallest share that a patch has in the change it causes."""
    shares = change / change.sum(0).clamp_min(1e-30)
    distances, clear = [], []
    for own, share, (row, column) in zip(change, shares, cells, strict=True):
        strongest = int((own * share).argmax())
        y, x = divmod(strongest, own.shape[1])
        distances.append(max(abs(y - row), abs(x - column)))
        clear.append(float(share[y, x]))
    return float(max(distances)), min(clear)
