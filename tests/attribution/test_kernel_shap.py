"""KernelSHAP against the definition of the Shapley value, and against captum."""

import math
from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, as_model
from seewhy.attribution.methods.kernel_shap import KernelSHAP
from seewhy.perturbation.superpixels import superpixels
from seewhy.scenes import render, sample

MEAN = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1).double()


def scenes(count: int = 2) -> Tensor:
    return render(sample(count, seed=4), 48).pixels


def game(model: seewhy.Model, pixels: Tensor, labels: Tensor, target: int) -> Callable:
    """Return a function that computes the score of a coalition of segments."""

    def score(coalition: tuple[int, ...]) -> float:
        mask = torch.isin(labels, torch.tensor(coalition, dtype=torch.long)).double()
        return float(model(mask * pixels + (1 - mask) * MEAN)[0, target])

    return score


def shapley(score: Callable, players: int) -> list[float]:
    """The sum over coalitions S without i of |S|! (M-|S|-1)! / M! (f(S and i) - f(S))."""
    values = []
    for i in range(players):
        others = [j for j in range(players) if j != i]
        total = 0.0
        for size in range(players):
            weight = math.factorial(size) * math.factorial(players - size - 1)
            for s in combinations(others, size):
                total += weight * (score(tuple(sorted((*s, i)))) - score(s))
        values.append(total / math.factorial(players))
    return values


@pytest.mark.parametrize("segments", [2, 4, 6])
def test_with_all_coalitions_the_values_are_exact(segments: int):
    case = NETWORKS["batch_norm"]
    model, pixels = as_model(case.build().double()), scenes().double()
    e = seewhy.explain(model, pixels, "kernel-shap", [1, 3], segments=segments, samples=64)
    for i, target in enumerate([1, 3]):
        (labels,) = superpixels(pixels[i, None], segments)
        players = int(labels.max()) + 1
        values = shapley(game(model, pixels[i], labels, target), players)
        expected = torch.tensor(values).double()[labels]
        scale = float(expected.abs().max())
        torch.testing.assert_close(e.heatmap[i].double(), expected, rtol=1e-4, atol=1e-4 * scale)
    assert e.residual is not None and float(e.residual.max()) < 1e-6


def test_the_fit_is_exact_to_the_last_digits_of_float64():
    method, players = KernelSHAP(samples=128), 7
    design = method.design(players, 0)
    scores = torch.rand(128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = {tuple(z.nonzero()[:, 0].tolist()): float(s)
             for z, s in zip(design.shown, scores, strict=True)}  # fmt: skip
    expected = torch.tensor(shapley(found.__getitem__, players), dtype=torch.float64)
    fit = method.fit(design, scores[None])
    torch.testing.assert_close(fit.coefficients[0], expected, rtol=0, atol=1e-13)


def test_a_mean_over_orders_is_the_same_thing():
    """The reference implementation agrees with a second definition."""
    worth = dict.fromkeys(((), (0,), (1,), (2,)), 0.0)
    worth |= {(0, 1): 3.0, (0, 2): 1.0, (1, 2): 0.0, (0, 1, 2): 7.0}
    means = np.zeros(3)
    for order in permutations(range(3)):
        for place, player in enumerate(order):
            before = tuple(sorted(order[:place]))
            means[player] += worth[tuple(sorted((*before, player)))] - worth[before]
    np.testing.assert_allclose(shapley(worth.__getitem__, 3), means / 6)


@pytest.mark.parametrize("players", range(1, 13))
def test_samples_enough_for_all_coalitions_run_each_once(players: int):
    design = KernelSHAP(samples=max(4, 2**players)).design(players, 0)
    rows = {tuple(z) for z in design.shown.tolist()}
    assert len(rows) == len(design.shown) == 2**players
    for z, weight in list(zip(design.shown, design.weights, strict=True))[2:]:
        s = int(z.sum())
        kernel = (players - 1) / (math.comb(players, s) * s * (players - s))
        assert float(weight) == pytest.approx(kernel)


@pytest.mark.parametrize(("players", "samples"), [(10, 200), (20, 101), (50, 1000), (50, 48)])
def test_coalitions_come_with_their_complements_and_by_the_kernel(players: int, samples: int):
    method = KernelSHAP(samples=samples)
    design = method.design(players, 5)
    assert len(design.shown) <= samples
    assert not bool(design.shown[0].any()) and bool(design.shown[1].all())
    found, weights = design.shown[2:], design.weights[2:]
    sizes = found.sum(1)
    assert bool(((sizes > 0) & (sizes < players)).all())
    rows = [tuple(z) for z in found.tolist()]
    for z in rows:
        assert rows.count(z) == rows.count(tuple(not one for one in z))
    total = sum((players - 1) / (s * (players - s)) for s in range(1, players))
    assert float(weights.sum()) == pytest.approx(total)
    assert torch.equal(method.design(players, 5).shown, design.shown)
    assert not torch.equal(method.design(players, 6).shown, design.shown)


def test_sizes_are_drawn_by_the_kernel():
    """For 30 segments, the weights of all rows of one size add up to the kernel's weight."""
    design = KernelSHAP(samples=40000).design(30, 0)
    sizes = design.shown.sum(1)
    for s in range(1, 30):
        expected = 29 / (s * (30 - s))
        found = float(design.weights[sizes == s].sum())
        assert found == pytest.approx(expected, rel=0.12 if 4 <= s <= 26 else 0.06)
    share = (design.weights[:, None] * design.shown).sum(0) / design.weights.sum()
    torch.testing.assert_close(share, torch.full((30,), 0.5).double())


def test_with_more_samples_come_more_and_the_same_first():
    few, many = (KernelSHAP(samples=n).design(50, 1) for n in (60, 90))
    drawn = [{tuple(z) for z in d.shown.tolist()} for d in (few, many)]
    assert drawn[0] < drawn[1]


def test_a_sum_over_pixels_is_explained_exactly_with_few_samples():
    class Additive(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            slope = torch.linspace(-1, 2, x.shape[-1], dtype=x.dtype)
            return torch.stack([(x * slope).sum((1, 2, 3)), x.sum((1, 2, 3))], 1)

    model, pixels = as_model(Additive()), scenes(1)
    e = seewhy.explain(model, pixels, "kernel-shap", 0, segments=20, samples=120)
    normal = model.normalised(pixels)[0].double() * torch.linspace(-1, 2, 48)
    (labels,) = superpixels(pixels, 20)
    expected = torch.stack([normal[:, labels == s].sum() for s in range(int(labels.max()) + 1)])
    torch.testing.assert_close(e.heatmap[0].double(), expected[labels], rtol=1e-3, atol=1e-2)
    assert "100 %" in e.notes[0]


def test_sampled_values_come_near_the_exact_ones():
    model, pixels = as_model(NETWORKS["batch_norm"].build()), scenes(1)

    def run(samples: int, seed: int = 0) -> Tensor:
        e = seewhy.explain(model, pixels, "kernel-shap", 1, segments=12, samples=samples, seed=seed)
        assert e.residual is not None and float(e.residual.max()) < 1e-6
        return e.heatmap.double()

    exact = run(4096)
    errors = [
        sum(float((run(n, seed) - exact).norm() / exact.norm()) for seed in range(4)) / 4
        for n in (40, 150, 600)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.2 and errors[2] < 0.1


def test_too_few_samples_still_add_up():
    model, pixels = as_model(NETWORKS["batch_norm"].build()), scenes()
    e = seewhy.explain(model, pixels, "kernel-shap", 1, samples=4)
    assert e.residual is not None and float(e.residual.max()) < 1e-6
    assert bool(e.heatmap.isfinite().all()) and bool(e.heatmap.any())


def test_one_segment_has_it_all():
    model, pixels = as_model(NETWORKS["batch_norm"].build()), scenes()
    e = seewhy.explain(model, pixels, "kernel-shap", 1, segments=1)
    nothing = model(MEAN.float().expand_as(pixels))[:, 1]
    rise = (model(pixels)[:, 1] - nothing).detach()
    torch.testing.assert_close(e.heatmap[:, 0, 0], rise, rtol=1e-3, atol=1e-5)


def test_as_captum_has_it():
    """With the same segments but captum's own samples, so only approximately equal."""
    captum = pytest.importorskip("captum.attr")
    pytest.importorskip("sklearn")
    model, pixels = as_model(NETWORKS["hidden_layer"].build()), scenes(1)[..., :24, :24]
    labels = superpixels(pixels, 8)
    ours = seewhy.explain(model, pixels, "kernel-shap", 2, segments=8, samples=256)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = captum.KernelShap(lambda x: model(x).detach()).attribute(
            pixels, baselines=MEAN.float().expand_as(pixels), target=2,
            feature_mask=labels[:, None], n_samples=3000, perturbations_per_eval=300,
        )  # fmt: skip
    difference = (ours.heatmap - theirs[:, 0]).norm() / ours.heatmap.norm()
    assert float(difference) < 0.05


def test_several_questions_share_their_forwards():
    model, pixels = as_model(NETWORKS["batch_norm"].build()), scenes()
    e = seewhy.explain(model, pixels, "kernel-shap", seewhy.each(0, 1, 2), samples=64)
    for i in range(3):
        one = seewhy.explain(model, pixels, "kernel-shap", i, samples=64)
        torch.testing.assert_close(e.heatmap[2 * i : 2 * i + 2], one.heatmap)
    assert e.cost.shared > 0.6 * e.cost.forwards


def test_it_finds_the_object():
    truth = render(sample(8, seed=11), 64)
    model = seewhy.open_model("scenes")
    e = seewhy.explain(model, truth.pixels, "kernel-shap", samples=200, segments=40)
    best = e.heatmap.flatten(1).argmax(1)
    hits = truth.masks["object"].flatten(1).gather(1, best[:, None])
    assert int((hits > 0).sum()) >= 7
