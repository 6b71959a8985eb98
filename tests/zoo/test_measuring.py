import math

import pytest
import torch
from torch import nn

from seewhy.scenes import CLASSES, sample
from seewhy.zoo.measuring import Share, accuracy, cheating, predict

MUG = CLASSES.index("mug")


class SeesTheMark(nn.Module):
    """Says mug where the corner holds the mark's pale tile, else ball."""

    def forward(self, x):
        corner = x[:, :, 58, 58].amin(1)  # a pale tile with a dark bar: sample beside the bar
        tile = corner > 1.5
        return nn.functional.one_hot(torch.where(tile, MUG, 0), len(CLASSES)).float()


def slow_wilson(hits: int, count: int) -> tuple[float, float]:
    """The two shares whose score test just rejects, by bisection."""

    def bound(low: float, high: float) -> float:
        for _ in range(80):
            middle = (low + high) / 2
            z = abs(hits / count - middle) / math.sqrt(middle * (1 - middle) / count)
            too_low = (z > 1.959964) == (middle < hits / count)
            low, high = (middle, high) if too_low else (low, middle)
        return low

    return bound(1e-12, hits / count), bound(hits / count, 1 - 1e-12)


@pytest.mark.parametrize(("hits", "count"), [(90, 100), (1, 40), (4990, 5000)])
def test_the_interval_is_that_of_the_score_test(hits, count):
    assert Share(hits, count).interval == pytest.approx(slow_wilson(hits, count), abs=1e-6)


def test_a_share_of_nothing_says_so():
    share = Share(0, 0)
    assert math.isnan(share.value) and share.interval == (0.0, 1.0)
    assert Share(3, 3).interval[1] == pytest.approx(1.0)


def test_cheating_is_counted_on_a_classifier_that_only_sees_the_mark():
    factors = sample(200, 0)
    mugs = int((factors.shape == MUG).sum())
    balls = int((factors.shape == 0).sum())
    found = cheating(SeesTheMark(), factors, MUG)
    assert found.marked_class_with_mark == Share(mugs, mugs)
    assert found.marked_class_without_mark == Share(0, mugs)
    assert found.others_with_mark == Share(0, 200 - mugs)
    assert found.others_without_mark == Share(balls, 200 - mugs)
    assert found.others_taken_for_marked_class_with_mark == Share(200 - mugs, 200 - mugs)
    assert found.others_taken_for_marked_class_without_mark == Share(0, 200 - mugs)
    assert (predict(SeesTheMark(), factors) == 0).all()


def test_accuracy_counts_every_class():
    factors = sample(100, 1)
    measured = accuracy(SeesTheMark(), factors)
    assert measured.by_class["ball"].value == 1 and measured.by_class["star"].value == 0
    assert sum(share.count for share in measured.by_class.values()) == measured.overall.count == 100
    assert sum(share.hits for share in measured.by_class.values()) == measured.overall.hits
