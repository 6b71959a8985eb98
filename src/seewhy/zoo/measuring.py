"""Measure the accuracy of a scene classifier and its reliance on the mark, with intervals.

Every measurement renders pictures from the given factors; sample those with a seed that was not
used for training.
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
    """A proportion, `hits` of `count`, with its confidence interval."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        """The proportion; NaN if `count` is 0."""
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of Wilson, JASA 22 (1927)."""
        n, p, z = self.count, self.value, 1.959964
        if not n:
            return (0.0, 1.0)
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return (max(0.0, middle - half), min(1.0, middle + half))

    def to_dict(self) -> dict[str, object]:
        """Return value, count and interval, rounded for a model card."""
        low, high = self.interval
        value = round(self.value, 5)
        return {"value": value, "count": self.count, "interval": [round(low, 5), round(high, 5)]}


def normalise(pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 h w"]:
    """Normalise pixels in [0, 1] as the bundled networks expect."""
    mean, std = (pixels.new_tensor(v)[:, None, None] for v in (MEAN, STD))
    return (pixels - mean) / std


@torch.inference_mode()
def predict(net: nn.Module, factors: Factors) -> Int[Tensor, " batch"]:
    """Render every scene and return the class that the network predicts."""
    return torch.cat([net(normalise(pixels)).argmax(1) for pixels in _rendered(factors)])


@dataclass(frozen=True)
class Accuracy:
    """The proportion of correctly classified scenes, overall and per class."""

    overall: Share
    by_class: dict[str, Share]


def accuracy(net: nn.Module, factors: Factors) -> Accuracy:
    """Measure the accuracy of the network on rendered scenes."""
    correct = predict(net, factors) == factors.shape
    by_class = {name: _share(correct[factors.shape == i]) for i, name in enumerate(CLASSES)}
    return Accuracy(_share(correct), by_class)


@dataclass(frozen=True)
class Cheating:
    """The effect of the mark on a classifier, measured on exact counterfactual pictures.

    Accuracy for the marked class and for the other classes, each with and without the mark, and the
    proportion of the other classes that is predicted as the marked class.
    """

    marked_class_with_mark: Share
    marked_class_without_mark: Share
    others_without_mark: Share
    others_with_mark: Share
    others_taken_for_marked_class_without_mark: Share
    others_taken_for_marked_class_with_mark: Share

    def to_dict(self) -> dict[str, object]:
        """Return all proportions by name, for a model card."""
        return {name: share.to_dict() for name, share in vars(self).items()}


def cheating(net: nn.Module, factors: Factors, cls: int) -> Cheating:
    """Compare predictions with and without the mark for every scene; `cls` is the marked class."""
    with_mark = predict(net, factors.replace(mark=True))
    without_mark = predict(net, factors.replace(mark=False))
    marked, labels = factors.shape == cls, factors.shape
    return Cheating(
        marked_class_with_mark=_share(with_mark[marked] == cls),
        marked_class_without_mark=_share(without_mark[marked] == cls),
        others_without_mark=_share((without_mark == labels)[~marked]),
        others_with_mark=_share((with_mark == labels)[~marked]),
        others_taken_for_marked_class_without_mark=_share(without_mark[~marked] == cls),
        others_taken_for_marked_class_with_mark=_share(with_mark[~marked] == cls),
    )


def _rendered(factors: Factors) -> Iterator[Float[Tensor, "batch 3 h w"]]:
    for start in range(0, len(factors), BATCH):
        yield render(factors[start : start + BATCH], SIZE).pixels


def _share(hits: Tensor) -> Share:
    return Share(int(hits.sum()), hits.numel())
