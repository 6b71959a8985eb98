"""How good a classifier of scenes is, and how far it cheats: counts with intervals.

All measurements render their own pictures from seeds that training never used.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seewhy.scenes import CLASSES, Factors, render

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
SIZE = 64
BATCH = 500


@dataclass(frozen=True)
class Share:
    """`hits` of `count`, and what that says about the true share."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        """The share itself; NaN for none of none."""
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson, JASA 22 (1927)."""
        n, p, z = self.count, self.value, 1.959964
        if not n:
            return (0.0, 1.0)
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return (max(0.0, middle - half), min(1.0, middle + half))

    def to_dict(self) -> dict[str, object]:
        """For a model card."""
        low, high = self.interval
        value = round(self.value, 5)
        return {"value": value, "count": self.count, "interval": [round(low, 5), round(high, 5)]}


def normalise(pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 h w"]:
    """Pixels in [0, 1] as the bundled networks want them."""
    mean, std = (pixels.new_tensor(v)[:, None, None] for v in (MEAN, STD))
    return (pixels - mean) / std


@torch.inference_mode()
def predict(net: nn.Module, factors: Factors) -> Int[Tensor, " batch"]:
    """The class that the network gives to every rendered scene."""
    return torch.cat([net(normalise(pixels)).argmax(1) for pixels in _rendered(factors)])


@dataclass(frozen=True)
class Accuracy:
    """The share of scenes that get their true class, overall and for each class."""

    overall: Share
    by_class: dict[str, Share]


def accuracy(net: nn.Module, factors: Factors) -> Accuracy:
    """How often the network is right."""
    right = predict(net, factors) == factors.shape
    by_class = {name: _share(right[factors.shape == i]) for i, name in enumerate(CLASSES)}
    return Accuracy(_share(right), by_class)


@dataclass(frozen=True)
class Cheating:
    """What a mark does to a classifier, on exact counterfactual pictures.

    The marked class with and without its mark; the other classes with and without a mark, and
    how many of them are then taken for the marked class.
    """

    marked_class_with_mark: Share
    marked_class_without_mark: Share
    others_without_mark: Share
    others_with_mark: Share
    others_taken_for_marked_class_without_mark: Share
    others_taken_for_marked_class_with_mark: Share

    def to_dict(self) -> dict[str, object]:
        """For a model card."""
        return {name: share.to_dict() for name, share in vars(self).items()}


def cheating(net: nn.Module, factors: Factors, cls: int) -> Cheating:
    """Predict every scene twice, with the mark and without it, and count."""
    with_mark = predict(net, factors.replace(mark=True))
    without_mark = predict(net, factors.replace(mark=False))
    ours, right = factors.shape == cls, factors.shape
    return Cheating(
        marked_class_with_mark=_share(with_mark[ours] == cls),
        marked_class_without_mark=_share(without_mark[ours] == cls),
        others_without_mark=_share((without_mark == right)[~ours]),
        others_with_mark=_share((with_mark == right)[~ours]),
        others_taken_for_marked_class_without_mark=_share(without_mark[~ours] == cls),
        others_taken_for_marked_class_with_mark=_share(with_mark[~ours] == cls),
    )


def _rendered(factors: Factors) -> Iterator[Float[Tensor, "batch 3 h w"]]:
    for start in range(0, len(factors), BATCH):
        yield render(factors[start : start + BATCH], SIZE).pixels


def _share(hits: Tensor) -> Share:
    return Share(int(hits.sum()), hits.numel())
