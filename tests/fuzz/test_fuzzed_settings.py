"""Any value of any parameter is used, or refused in one line, in little time and memory."""

import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from outcomes import memory_below, outcomes
from torch import Tensor, nn

import seewhy

ODD: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 1_000_001, 10**9, 10**30, -(10**30), True, False, None),
    *(0.0, -0.5, 1e-300, 1e-9, 0.5, 1.0, 2.5, 1e9, 1e300, -1e300, float("nan"), float("inf")),
    *("", "dog", "all", "\ud800", "\0", "x" * 10**5, "[" * 5000, "9" * 5000, b"x"),
    *([], [[1]], [None], {}, {1: 2}, (), (0.5,), (-1.0,), (1e300, 1e-300), (10**30,), (1, 2)),
    *((0.1,) * 10**4, ("a", "b"), (float("nan"),), object(), print, np.ones(3), torch.ones(3, 3)),
)
PARTS = (
    *("dog", "cat", "0", "1:2", "0:0@1,1", "class 2", "predicted class", "'dog'", "nothing:3"),
    *(" - ", " + ", "2*", "0.5 ", "1e999*", "@", ":", "#", "9" * 30, "@1:3,0:2", "\ud800", "²"),
)
FEW = {
    "rise": {"masks": 20},
    "lime": {"samples": 20},
    "kernel-shap": {"samples": 20},
    "extremal-perturbation": {"steps": 2, "areas": (0.3,)},
    "meaningful-perturbation": {"steps": 2},
    "smoothgrad": {"samples": 2},
    "integrated-gradients": {"steps": 2},
}
PIXELS = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
OF_MODELS = ("mean", "std", "size", "resize", "classes", "name", "preparation", "outputs")
OF_RUNS = ("seed", "batch_size", "precision")


class Small(nn.Sequential):
    """A convolution, a rectifier and a linear layer."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@cache
def model() -> seewhy.Model:
    return seewhy.Model(Small(), mean=0.0, std=1.0, classes=["dog", "cat", "dog - cat"])


def parameters() -> list[tuple[str, str]]:
    """Every hyperparameter of every method."""
    return [(name, p) for name, method in seewhy.methods().items() for p in method.types()]


def text(generator: random.Random) -> str:
    return "".join(generator.choice(PARTS) for _ in range(generator.choice((1, 2, 3, 5, 9))))


def run(number: int) -> None:
    """The n-th case: a hyperparameter, an argument of a model or of a run, or a target."""
    generator = random.Random(number)
    value = generator.choice(ODD)
    kind = generator.random()
    if kind < 0.6:
        name, parameter = generator.choice(parameters())
        given = {**FEW.get(name, {}), parameter: value}
        explanation = seewhy.explain(model(), PIXELS, name, **given)
        assert explanation.heatmap.isfinite().any()
    elif kind < 0.75:
        odd = seewhy.Model(Small(), **{generator.choice(OF_MODELS): value})
        seewhy.explain(odd, PIXELS, "gradient").summary()
    elif kind < 0.85:
        seewhy.explain(
            model(), PIXELS, "smoothgrad", samples=2, **{generator.choice(OF_RUNS): value}
        )
    elif kind < 0.95:
        seewhy.explain(model(), PIXELS, "gradient", text(generator)).summary()
    else:
        seewhy.explain(model(), PIXELS, generator.choice(("grad-cam", value)), value)


def sweep(numbers: range) -> None:
    seewhy.explain(model(), PIXELS, "gradient")  # the imports are not timed
    with memory_below(500):
        counts = outcomes(numbers, run)
    assert counts["refused"] > counts.total() / 4 and counts["accepted"] > counts.total() / 20
    print(dict(counts))


@pytest.mark.filterwarnings("default::UserWarning")  # of torch, about shapes that it broadcasts
def test_some_settings():
    sweep(range(70))


@pytest.mark.full
@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize("start", range(1000, 21_000, 1000))
def test_many_settings(start: int):
    sweep(range(start, start + 1000))
