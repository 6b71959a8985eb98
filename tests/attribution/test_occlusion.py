"""Occlusion against a float64 loop over windows, and against captum."""

from itertools import product

import pytest
import torch
from torch import Tensor

import seewhy
from networks import NETWORKS, Network, as_model
from seewhy.attribution.methods.occlusion import windows
from seewhy.errors import SeewhyError
from seewhy.perturbation import Windows

MEAN = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1).double()

# Network, window, stride: strides that do not divide, odd sizes, windows larger than the picture.
CASES = [
    ("batch_norm", 8, 8),
    ("batch_norm", 7, 3),
    ("batch_norm", 5, 5),
    ("batch_norm", 24, 1),
    ("batch_norm", 40, 9),
    ("odd_size", 11, 6),
    ("odd_size", 10, 10),
    ("grey", 9, 4),
]


def exact(name: str) -> tuple[seewhy.Model, Tensor]:
    case = NETWORKS[name]
    return as_model(case.build().double(), case.shape[0]), case.pixels().double()


def slowly(
    model: seewhy.Model, pixels: Tensor, target: int, window: int, stride: int, probability: bool
) -> Tensor:
    """Occlude one picture with one forward pass per window, until the border is reached."""

    def score(x: Tensor) -> float:
        logits = model(x[None])[0].detach()
        return float((logits.softmax(0) if probability else logits)[target])

    height, width = pixels.shape[1:]
    tops, lefts = (
        [s for s in range(0, side, stride) if s == 0 or s - stride + window < side]
        for side in (height, width)
    )
    drops, covers = torch.zeros(2, height, width).double()
    for top, left in product(tops, lefts):
        covered = pixels.clone()
        here = (slice(top, top + window), slice(left, left + window))
        covered[:, *here] = MEAN[: len(pixels)].expand_as(pixels)[:, *here]
        drops[here] += score(pixels) - score(covered)
        covers[here] += 1
    assert bool((covers > 0).all())
    return drops / covers


@pytest.mark.parametrize(("network", "window", "stride"), CASES)
def test_maps_are_mean_drops(network: str, window: int, stride: int):
    model, pixels = exact(network)
    score = "logit" if stride % 2 else "probability"
    e = seewhy.explain(
        model, pixels, "occlusion", [0, 4, 2], window=window, stride=stride, score=score
    )
    for i, target in enumerate([0, 4, 2]):
        expected = slowly(model, pixels[i], target, window, stride, score == "probability")
        torch.testing.assert_close(e.heatmap[i].double(), expected, rtol=1e-4, atol=1e-6)
    assert e.signed


@pytest.mark.parametrize(("network", "window", "stride"), CASES)
def test_as_captum_has_it(network: str, window: int, stride: int):
    captum = pytest.importorskip("captum.attr")
    model, pixels = exact(network)
    channels, height, width = pixels.shape[1:]
    window, stride = min(window, height, width), min(stride, height, width)
    theirs = captum.Occlusion(lambda x: model(x).detach()).attribute(
        pixels,
        (channels, window, window),
        (channels, stride, stride),
        baselines=MEAN[:channels].expand_as(pixels),
        target=[0, 4, 2],
        perturbations_per_eval=8,
    )
    ours = seewhy.explain(model, pixels, "occlusion", [0, 4, 2], window=window, stride=stride)
    scale = float(theirs.abs().max())
    torch.testing.assert_close(
        ours.heatmap.double(), theirs[:, 0].double(), rtol=1e-5, atol=1e-5 * scale
    )


@pytest.mark.parametrize(
    ("size", "window", "stride"), [((24, 24), 8, 8), ((33, 47), 10, 7), ((5, 9), 16, 8)]
)
def test_windows_cover_every_pixel_and_stay_inside(size: tuple[int, int], window: int, stride: int):
    boxes = windows(size, window, stride)
    masks = Windows(boxes, size)
    whole = masks.of(range(masks.count))[0, :, 0]
    assert bool(((1 - whole).sum(0) > 0).all())
    for mask, (top, left, height, width) in zip(whole, boxes.tolist(), strict=True):
        assert 0 < height <= window and 0 < width <= window
        assert top + height <= size[0] and left + width <= size[1]
        expected = torch.ones(size)
        expected[top : top + height, left : left + width] = 0
        assert torch.equal(mask, expected)
    half = masks.count // 2
    assert torch.equal(masks.of(range(half, masks.count))[0, :, 0], whole[half:])


@pytest.mark.parametrize("fill", ["black", "grey", "white", "blur", "noise"])
def test_fills_cover(fill: str):
    from seewhy.perturbation.baselines import baseline

    model, pixels = exact("batch_norm")
    e = seewhy.explain(model, pixels, "occlusion", 1, window=24, stride=24, baseline=fill)
    hidden = model(baseline(fill, model, pixels))[:, 1]
    drop = (model(pixels)[:, 1] - hidden).detach().float()
    torch.testing.assert_close(e.heatmap[:, 0, 0], drop, rtol=1e-4, atol=1e-6)


def test_the_forwards_are_counted():
    case: Network = NETWORKS["batch_norm"]
    e = seewhy.explain(case.model(), case.pixels(), "occlusion", window=12, stride=12)
    assert e.cost.forwards == 1 + 1 + 4 and e.cost.backwards == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"window": 0}, "at least 1 pixel"),
        ({"stride": 0}, "stride must be between 1 and"),
        ({"window": 4, "stride": 5}, "between 1 and 4 .the window., not 5"),
        ({"baseline": "nothing"}, "baseline"),
        ({"score": "loss"}, "score"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict, words: str):
    with pytest.raises(SeewhyError, match=words):
        seewhy.methods()["occlusion"](**wrong)
