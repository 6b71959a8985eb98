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
MEASURED = "three patches changed one by one: distance of the strongest change, in cells"
COARSE = 8  # patches in a row, at most: a change of a pixel or two says little about a deep layer
CLEAR = 0.5  # a cell's share of all its changes; of three patches, a third says nothing
MOVED = (
    "a change of the picture changes other cells than those at its place, so maps of this layer "
    "would be drawn at the wrong place; name another layer"
)


def cells_follow_the_picture(subject: Subject) -> list[Check]:
    """The distance between the changed patch and the cell that changes most."""
    model, picture = subject.model, subject.picture
    try:
        at = model.find_layer(picture)
    except NotApplicable as reason:
        return [not_applicable(TOPIC, NAME, MEASURED, str(reason))]
    grid = model.layer_graph(picture).layer(at).grid
    assert grid is not None
    patches = (min(grid.height, COARSE), min(grid.width, COARSE))
    size = (picture.shape[-2], picture.shape[-1])
    pictures = changed_pictures(picture.shape[1], size, patches).to(picture)
    activations = [capture(model, one[None], [at])[at] for one in pictures]
    maps = grid.maps(torch.cat(activations))
    distance, share = _farthest((maps[1:] - maps[:1]).float().square().sum(1), patches)
    name = f"{NAME} ({at}, {grid.height} x {grid.width})"
    if share < CLEAR:
        reason = "each change spreads over the whole layer, so nothing can be told"
        return [not_applicable(TOPIC, name, MEASURED, reason, distance)]
    return [at_most(TOPIC, name, MEASURED, distance, NEAR, MOVED)]


def _farthest(
    change: Float[Tensor, "changes rows columns"], patches: tuple[int, int]
) -> tuple[float, float]:
    """The largest distance, and the smallest share that a patch has in the change it causes."""
    height, width = change.shape[1:]
    shares = change / change.sum(0).clamp_min(1e-30)
    distances, clear = [], []
    for own, share, (row, column) in zip(change, shares, cells_of(patches), strict=True):
        y, x = divmod(int((own * share).argmax()), width)
        off = (_outside(y, row, patches[0], height), _outside(x, column, patches[1], width))
        distances.append(max(off))
        clear.append(float(share[y, x]))
    return float(max(distances)), min(clear)


def _outside(cell: int, patch: int, patches: int, cells: int) -> int:
    """How many cells a cell lies outside the cells of a patch."""
    first, last = patch * cells // patches, -(-(patch + 1) * cells // patches) - 1
    return max(first - cell, cell - last, 0)
