"""What seewhy says of a network, compared with the network: one figure for each check.

A check takes a `Subject` and returns a `Figure`; a method that does not apply raises SeewhyError.
Each figure but the last is an error, 0 at best.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

import seewhy
from benchmarks.networks.choosing import Subject, built
from seewhy.attribution.explanation import Explanation

PICTURES = 3
BLOCKS = 3  # the picture is cut into as many rows and columns for `cells_follow`
LARGER = (224, 384)  # pictures for networks whose cells see all of a small one
SPREAD = 0.5  # a cell's share of its changes in one of nine blocks, at least, to tell anything

LIMITS = {"batch": 1e-5, "gradient": 1e-4, "lrp": 1e-3, "deep-lift": 1e-3, "fullgrad": 1e-3}
LEAST_CORRELATION = 0.7


@dataclass(frozen=True)
class Figure:
    """The outcome of one check, a word about it, and whether it settles nothing."""

    value: float
    about: str = ""
    open: bool = False


def batch_equals_single(subject: Subject) -> Figure:
    """The largest difference of logits and pixel gradients between a batch and its pictures alone.

    As a share of the largest logit or gradient; of the first and the last picture.
    """
    batch, pixels = _gradient(subject), subject.pixels(PICTURES)
    errors = []
    for i in (0, PICTURES - 1):
        alone = seewhy.explain(subject.model, pixels[i : i + 1], "gradient", int(batch.target[i]))
        errors.append(_difference(batch.logits[i], alone.logits[0]))
        errors.append(_difference(batch.attribution[i], alone.attribution[0]))
    return Figure(max(errors))


def gradient_by_differences(subject: Subject) -> Figure:
    """The gradient along a random direction less the central difference, as a share of its norm.

    Each picture has its own direction. The best of several steps counts, given as the change of the
    logit: a large one meets the kinks of rectifiers, a small one rounding.
    """
    batch, pixels = _gradient(subject), subject.pixels(PICTURES).double()
    gradient = batch.attribution.double()
    direction = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(2)).double()
    expected = (gradient * direction).flatten(1).sum(1)
    best = torch.full_like(expected, torch.inf)
    norm = gradient.flatten(1).norm(dim=1)
    for change in (1e-7, 1e-8, 1e-9, 1e-10, 3e-11) if subject.double else (1e-2, 1e-3, 1e-4):
        step = change / norm
        moved = step.view(-1, 1, 1, 1) * direction
        ends = pixels + moved, pixels - moved
        ahead, behind = (_logits(subject, end, batch.target) for end in ends)
        error = ((ahead - behind) / (2 * step) - expected).abs() / norm
        best = torch.minimum(best, error)
        if bool((best < LIMITS["gradient"] / 100).all()):
            break
    return Figure(float(best.max()))


def lrp(subject: Subject) -> Figure:
    """What is missing from the score in the relevance of pixels and constants, as a share."""
    epsilon = 1e-9 if subject.double else 1e-6
    return _residual(subject, "lrp-epsilon", epsilon=epsilon)


def deep_lift(subject: Subject) -> Figure:
    """What is missing from the rise above the reference, as a share of it."""
    return _residual(subject, "deep-lift")


def full_grad(subject: Subject) -> Figure:
    """What is missing from the score in the shares of pixels and biases, as a share of it."""
    return _residual(subject, "fullgrad")


def cells_follow(subject: Subject) -> Figure:
    """Whether the cells of the layer that CAMs read lie where the picture is changed.

    Blocks of the picture are changed one at a time. The correlation between the rows of the blocks
    and the rows where the layer changes; or for the columns, if that is less. 1 at best. On small
    pictures each cell may see all of it, so larger ones are tried where the correlation is low. It
    settles nothing where even then cells change alike, whichever block is changed.
    """
    figure = _followed(subject)
    for size in LARGER:
        if figure.value < LEAST_CORRELATION:
            with suppress(LookupError):  # it takes one size only
                figure = _followed(built(subject.variant, subject.family, (size,), precise=False))
    return figure


def _followed(subject: Subject) -> Figure:
    pixels = subject.pixels(2)
    name = subject.model.find_layer(pixels[:1])
    grid = subject.model.layer_graph(pixels[:1]).layer(name).grid
    assert grid is not None
    changed, centres = _changed(pixels[0], pixels[1])
    activation = seewhy.capture(subject.model, torch.stack([pixels[0], *changed]), [name])[name]
    shares = _shares(grid.maps(activation).double())
    correlation = _correlation(_moved_to(shares), centres)
    spread = float(shares.amax(0).mean()) < SPREAD
    about = f"{name}, {grid}, at {subject.size} px"
    return Figure(correlation, about, spread and correlation < LEAST_CORRELATION)


def _changed(picture: Tensor, other: Tensor) -> tuple[list[Tensor], Tensor]:
    """Copies of a picture with a block of another one, and the blocks' centres [blocks, 2]."""
    size = picture.shape[-1]
    edges = [round(i * size / BLOCKS) for i in range(BLOCKS + 1)]
    copies, centres = [], []
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            copy = picture.clone()
            copy[:, top:bottom, left:right] = other[:, top:bottom, left:right]
            copies.append(copy)
            centres.append((top + bottom, left + right))
    return copies, torch.tensor(centres, dtype=torch.float64)


def _shares(maps: Tensor) -> Tensor:
    """Of all changes of a cell, the share in each picture beside the first: [blocks, h, w]."""
    change = (maps[1:] - maps[:1]).square().sum(1)
    return change / change.sum(0).clamp_min(1e-30)


def _moved_to(shares: Tensor) -> Tensor:
    """The centre of the cells that change with each block: [blocks, 2]."""
    weights = shares.square() / shares.square().sum((1, 2), keepdim=True)
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in shares.shape[-2:])
    return torch.stack([weights.sum(2) @ rows, weights.sum(1) @ columns], 1)


def _correlation(found: Tensor, centres: Tensor) -> float:
    each = [torch.corrcoef(torch.stack([found[:, i], centres[:, i]]))[0, 1] for i in (0, 1)]
    return float(torch.stack(each).nan_to_num(0).min())


@lru_cache(maxsize=1)
def _gradient(subject: Subject) -> Explanation:
    """The gradients of a batch, which two checks need."""
    return seewhy.explain(subject.model, subject.pixels(PICTURES), "gradient")


def _residual(subject: Subject, method: str, **parameters: float) -> Figure:
    found = seewhy.explain(subject.model, subject.pixels(PICTURES), method, **parameters)
    assert found.residual is not None
    return Figure(float(found.residual.max()))


def _logits(subject: Subject, pixels: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return subject.model(pixels).double().gather(1, targets[:, None])[:, 0]


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


Check = Callable[[Subject], Figure]

CHECKS: dict[str, Check] = {
    "batch": batch_equals_single,
    "gradient": gradient_by_differences,
    "lrp": lrp,
    "deep-lift": deep_lift,
    "fullgrad": full_grad,
    "cam": cells_follow,
}
