"""Superpixels, and LIME against its formula in float64 and against captum."""

import math
from collections import deque

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, as_model
from seewhy.attribution.methods.lime import LIME
from seewhy.errors import SeewhyError
from seewhy.perturbation.superpixels import OnOff, superpixels
from seewhy.scenes import render, sample

MEAN = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1).double()


def scenes(count: int = 2) -> Tensor:
    return render(sample(count, seed=4), 48).pixels


def pieces(labels: np.ndarray) -> int:
    """Count the connected components by flood fill."""
    seen = np.zeros(labels.shape, bool)
    count = 0
    for start in np.ndindex(*labels.shape):
        if seen[start]:
            continue
        count += 1
        queue = deque([start])
        seen[start] = True
        while queue:
            y, x = queue.popleft()
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= v < labels.shape[0] and 0 <= u < labels.shape[1]
                if inside and not seen[v, u] and labels[v, u] == labels[y, x]:
                    seen[v, u] = True
                    queue.append((v, u))
    return count


# Superpixels


@pytest.mark.parametrize("kind", ["scene", "noise", "flat", "stripes", "grey", "wide"])
def test_segments_are_in_one_piece_without_gaps_in_their_numbers(kind: str):
    noise = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    pixels = {
        "scene": scenes(1),
        "noise": noise,
        "flat": torch.full((1, 3, 40, 40), 0.3),
        "stripes": (torch.arange(40) // 2 % 2).float().expand(1, 3, 40, 40).clone(),
        "grey": noise[:, :1],
        "wide": noise[:, :, :11],
    }[kind]
    (labels,) = superpixels(pixels, 30)
    assert labels.shape == pixels.shape[2:]
    count = int(labels.max()) + 1
    assert torch.equal(labels.unique(), torch.arange(count))
    assert pieces(labels.numpy()) == count
    assert 15 <= count <= 45


@pytest.mark.parametrize("segments", [1, 2, 7, 50, 200])
def test_segments_of_a_flat_picture_are_a_grid(segments: int):
    (labels,) = superpixels(torch.full((1, 3, 60, 60), 0.5), segments)
    sizes = torch.bincount(labels.flatten())
    assert 0.75 * segments <= len(sizes) <= 1.25 * segments
    assert sizes.max() <= 2 * sizes.min()


def test_more_segments_than_pixels_are_one_for_each():
    (labels,) = superpixels(torch.rand(1, 3, 3, 4), 1000)
    assert sorted(labels.flatten().tolist()) == list(range(12))


def test_segments_follow_edges():
    """With two colours and a slanted edge, no segment contains both colours."""
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    right = x + y // 3 > 30
    pixels = torch.where(right, 0.8, 0.3).expand(1, 3, 48, 48).clone()
    (labels,) = superpixels(pixels, 25)
    both = sum(
        min(int(right[labels == s].sum()), int((~right)[labels == s].sum()))
        for s in range(int(labels.max()) + 1)
    )
    assert both == 0
    squares = y // 10 * 5 + x // 10
    cut = sum(
        min(int(right[squares == s].sum()), int((~right)[squares == s].sum())) for s in range(25)
    )
    assert cut > 100  # a grid of squares would mix the colours


def test_colour_is_cielab():
    """Against known values of the primary colours under D65."""
    from seewhy.perturbation.superpixels import _lab

    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]).double()
    found = _lab(colours.T[:, None])[:, 0].T
    expected = torch.tensor([
        [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86],
        [100.0, 0.0, 0.0], [0.0, 0.0, 0.0],
    ]).double()  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_a_picture_has_the_same_segments_in_any_company():
    pixels = torch.cat([scenes(3), torch.full((1, 3, 48, 48), 0.5)])
    together = superpixels(pixels, 40)
    for i in range(4):
        assert torch.equal(superpixels(pixels[i, None], 40)[0], together[i])


def test_masks_show_segments():
    labels = torch.tensor([[[0, 0, 1], [2, 2, 1]], [[0, 1, 1], [0, 1, 1]]])
    vectors = [
        torch.tensor([[True, False, True], [False, True, False]]),
        torch.tensor([[False, True]]),
    ]
    masks = OnOff(labels, vectors, torch.device("cpu"))
    assert masks.count == 2 and masks.needed.tolist() == [2, 1]
    found = masks.of(range(2))
    assert found[0, 0, 0].tolist() == [[1, 1, 0], [1, 1, 0]]
    assert found[0, 1, 0].tolist() == [[0, 0, 1], [0, 0, 1]]
    assert found[1, 0, 0].tolist() == [[0, 1, 1], [0, 1, 1]]


# LIME


@pytest.mark.parametrize("score", ["probability", "logit"])
def test_coefficients_solve_the_weighted_ridge_regression(score: str):
    case = NETWORKS["batch_norm"]
    model, pixels = as_model(case.build().double()), scenes().double()
    samples, width, ridge = 60, 0.4, 0.3
    method = LIME(samples=samples, segments=12, score=score, width=width, ridge=ridge)
    e = seewhy.explain(model, pixels, method, [1, 3])
    for i, target in enumerate([1, 3]):
        (labels,) = superpixels(pixels[i, None], 12)
        shown = method.design(int(labels.max()) + 1, 0).shown
        rows, values, weights = [], [], []
        for z in shown:
            mask = z[labels].double()
            logits = model(mask * pixels[i] + (1 - mask) * MEAN)[0].detach()
            values.append(float((logits.softmax(0) if score == "probability" else logits)[target]))
            distance = 1 - math.sqrt(int(z.sum()) / len(z))
            weights.append(math.exp(-(distance**2) / (2 * width**2)))
            rows.append([1.0, *z.double().tolist()])
        z, f, w = np.array(rows), np.array(values), np.diag(weights)
        penalty = ridge * np.eye(z.shape[1])
        penalty[0, 0] = 0  # the intercept
        solved = np.linalg.solve(z.T @ w @ z + penalty, z.T @ w @ f)
        expected = torch.from_numpy(solved[1:])[labels]
        scale = float(expected.abs().max())
        torch.testing.assert_close(e.heatmap[i].double(), expected, rtol=1e-3, atol=1e-4 * scale)
    assert e.signed and e.provenance.seed == 0


def test_the_note_says_how_good_the_fit_is():
    """The fit is perfect for a linear network, but not for a product of segments."""

    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            left, right = x[..., :24].mean((1, 2, 3)), x[..., 24:].mean((1, 2, 3))
            return torch.stack([left + 2 * right, 5 * left * right], 1)

    pixels = torch.full((1, 3, 48, 48), 0.9)
    notes = [
        seewhy.explain(
            as_model(Product()), pixels, "lime", target,
            segments=2, score="logit", ridge=1e-6, width=1.0, samples=200,
        ).notes[0]
        for target in (0, 1)
    ]  # fmt: skip
    assert notes[0] == "2 segments; the fit explains 100 % of the variance"
    # f = c z1 z2 on four corners: 2/3 of the variance with equal weights, but the kernel's differ.
    assert 55 < int(notes[1].split("explains ")[1].split(" %")[0]) < 85


@pytest.mark.parametrize("method", ["lime", "kernel-shap"])
def test_the_note_says_where_the_score_does_not_change(method: str):
    """It does not say which share of rounding errors the fit explains."""

    class Still(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            bright = (x.mean((1, 2, 3)) - 0.4).clamp(min=0)  # zero for the dark picture
            rounding = 1e-7 * x.mean((1, 2, 3))
            return torch.stack([0.3 + rounding, 0.3 + bright], 1)

    def note(target: int, pixels: Tensor) -> str:
        options = {"segments": 9, "score": "logit", "samples": 60, "baseline": "black"}
        return seewhy.explain(seewhy.Model(Still()), pixels, method, target, **options).notes[0]

    bright, dark = torch.full((1, 3, 48, 48), 0.9), torch.full((1, 3, 48, 48), 0.1)
    both = torch.cat([bright, dark])
    assert note(0, both) == "9 segments; the score does not change, whatever is hidden"
    assert note(1, dark) == "9 segments; the score does not change, whatever is hidden"
    said = note(1, both)
    assert said.endswith("the score of 1 of 2 pictures does not change, whatever is hidden")
    assert said.startswith(note(1, bright)) and "% of the variance" in said


def test_the_first_sample_is_the_picture_and_others_depend_on_seed_and_number():
    few, many = LIME(samples=20).design(9, 3), LIME(samples=50).design(9, 3)
    assert bool(many.shown[0].all()) and float(many.weights[0]) == 1.0
    assert torch.equal(few.shown, many.shown[:20])
    assert not torch.equal(LIME(samples=20).design(9, 4).shown[1:], few.shown[1:])
    share = LIME(samples=4000).design(9, 0).shown[1:].double().mean(0)
    assert bool((share - 0.5).abs().max() < 0.04)


def test_as_captum_has_it():
    captum = pytest.importorskip("captum.attr")
    pytest.importorskip("sklearn")
    from captum._utils.models.linear_model import SkLearnRidge

    case = NETWORKS["hidden_layer"]
    model, pixels = as_model(case.build().double()), scenes(1)[..., :24, :24].double()
    method = LIME(samples=80, segments=10, score="logit", ridge=0.5)
    labels = superpixels(pixels, 10)
    design = method.design(int(labels.max()) + 1, 0)
    weights = {tuple(z.long().tolist()): w for z, w in zip(design.shown, design.weights)}  # noqa: B905

    def draw(inputs: Tensor, **_: object):
        for z in design.shown:
            yield z.long()[None]

    lime = captum.Lime(
        lambda x: model(x).detach(),
        interpretable_model=SkLearnRidge(alpha=0.5),
        similarity_func=lambda a, b, z, **_: weights[tuple(z[0].tolist())],
        perturb_func=draw,
    )
    theirs = lime.attribute(
        pixels, baselines=MEAN.expand_as(pixels), target=2, feature_mask=labels[:, None],
        n_samples=80,
    )  # fmt: skip
    ours = seewhy.explain(model, pixels, method, 2)
    scale = float(theirs.abs().max())
    torch.testing.assert_close(
        ours.heatmap.double(), theirs[:, 0].double(), rtol=1e-3, atol=1e-4 * scale
    )


def test_it_finds_the_object():
    truth = render(sample(8, seed=11), 64)
    model = seewhy.open_model("scenes")
    e = seewhy.explain(model, truth.pixels, "lime", samples=200, segments=40)
    best = e.heatmap.flatten(1).argmax(1)
    hits = truth.masks["object"].flatten(1).gather(1, best[:, None])
    assert int((hits > 0).sum()) >= 7


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"samples": 3}, "at least 4, not 3"),
        ({"segments": 0}, "at least 1, not 0"),
        ({"width": 0.0}, "width must be from"),
        ({"ridge": 0.0}, "ridge must be positive"),
        ({"baseline": "nothing"}, "baseline"),
        ({"score": "loss"}, "score"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict, words: str):
    with pytest.raises(SeewhyError, match=words):
        LIME(**wrong)
