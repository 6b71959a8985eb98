"""The solver: known optima, rows that do not influence each other, and a model left as it was."""

import math

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import NETWORKS
from seewhy.errors import SeewhyError
from seewhy.support.settings import Settings
from seewhy.synthesis.adam import Adam
from seewhy.synthesis.constraints import NormBall, VariationBall, variation
from seewhy.synthesis.generator_prior import GeneratorPrior
from seewhy.synthesis.objective import Objective
from seewhy.synthesis.parametrisations import Fourier, NaturalPhase, Parametrisation, Pixels
from seewhy.synthesis.penalties import Nearness, TotalVariation
from seewhy.synthesis.solver import Recipe, Solution, solve
from seewhy.synthesis.transforms import CROPS, ROBUST
from seewhy.targets.terms import Target, logit, unit

SIZE = (3, 8, 8)
FREE = Pixels(squash=False, rate=0.02)


class Linear(nn.Module):
    """Logits that are linear in the pixels."""

    def __init__(self, classes: int = 4):
        super().__init__()
        weights = torch.randn(classes, 3 * 8 * 8, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


@pytest.fixture
def linear() -> seewhy.Model:
    return seewhy.Model(Linear(), mean=0.0, std=1.0)


def solved(
    model: seewhy.Model, targets: list[Target], recipe: Recipe, size=SIZE, **settings
) -> Solution:
    objective = Objective(model, targets, torch.full((1, *size), 0.5))
    seeds = settings.pop("seeds", range(len(targets)))
    return solve(model, objective, recipe, size, list(seeds), Settings(**settings))


def weights(model: seewhy.Model, of_class: int) -> Tensor:
    return model.net.weight.detach()[of_class].view(SIZE)


# Known answers


def test_in_the_box_the_optimum_is_the_sign(linear):
    found = solved(linear, [logit(0), logit(1)], Recipe(FREE, steps=60)).pictures
    for row in range(2):
        assert torch.equal(found[row] > 0.5, weights(linear, row) > 0)
        assert float((found[row] * (1 - found[row])).max()) < 1e-6


def test_in_a_ball_the_optimum_is_the_direction(linear):
    recipe = Recipe(FREE, constraints=(NormBall(0.1),), steps=150, rate=0.005)
    found = solved(linear, [logit(2)], recipe).pictures[0]
    w = weights(linear, 2)
    best = 0.5 + 0.1 * w / w.pow(2).mean().sqrt()
    assert float(((best - 0.5) * (found - 0.5)).sum() / ((best - 0.5) ** 2).sum()) > 0.99
    assert float((found - 0.5).pow(2).mean().sqrt()) <= 0.1001


def test_near_a_picture_the_optimum_is_a_step_along_the_gradient(linear):
    """max w x - a |x - c|^2 / n is at c + n w / (2 a)."""
    centre, strength = torch.full((1, *SIZE), 0.5), 3000.0
    recipe = Recipe(FREE, penalties=(Nearness(centre, strength),), steps=800, rate=0.002)
    found = solved(linear, [logit(1)], recipe).pictures[0]
    best = 0.5 + weights(linear, 1) * math.prod(SIZE) / (2 * strength)
    inside = (best > 0.02) & (best < 0.98)
    torch.testing.assert_close(found[inside], best[inside], rtol=0, atol=5e-3)
    assert float(inside.float().mean()) > 0.9


def test_in_a_variation_ball_nothing_smooth_is_better(linear):
    recipe = Recipe(FREE, constraints=(VariationBall(0.05),), steps=60, rate=0.01)
    found = solved(linear, [logit(0)], recipe).pictures
    assert float(variation(found)) <= 0.0501
    w = weights(linear, 0)
    score = float((w * found[0]).sum())
    for seed in range(12):  # random pictures of the set
        other = VariationBall(0.05).nearest(
            torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(seed)), torch.tensor([0])
        )
        assert float((w * other[0]).sum()) < score


def test_the_most_likely_code_of_a_linear_generator(linear):
    """max w A z - p |z|^2 / 2n is at n A^T w / p."""
    generator = nn.Sequential(nn.Linear(5, math.prod(SIZE), bias=False), nn.Unflatten(1, SIZE))
    with torch.no_grad():
        generator[0].weight.mul_(0.01)
    prior = GeneratorPrior(generator, (5,), low=-1, high=1, prior=2.0, rate=0.01)
    best = 5 * (generator[0].weight.detach().T @ weights(linear, 0).flatten()) / (2 * 2.0)
    found = solved(linear, [logit(0)], Recipe(prior, steps=500)).pictures
    with torch.no_grad():
        expected = (generator(best[None]) + 1) / 2
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_adam_is_that_of_torch_for_rows_of_different_age():
    start = torch.randn(3, 4)
    ours, theirs = start.clone(), [nn.Parameter(row.clone()) for row in start]
    adam = Adam([ours], 0.1)
    optimisers = [torch.optim.Adam([row], 0.1) for row in theirs]
    for rows in ([0, 1, 2], [0, 2], [2], [0, 1]):
        gradients = torch.randn(len(rows), 4)
        adam.step([ours], [gradients], torch.tensor(rows))
        for row, gradient in zip(rows, gradients, strict=True):
            theirs[row].grad = gradient.clone()
            optimisers[row].step()
    torch.testing.assert_close(ours, torch.stack([row.detach() for row in theirs]))


# Rows


MADE: list[tuple[Parametrisation, dict]] = [
    (Pixels(), {}),
    (Fourier(), {"transforms": ROBUST}),
    (NaturalPhase(), {"transforms": CROPS}),
    (Fourier(), {"transforms": ROBUST, "penalties": (TotalVariation(0.1),)}),
]


@pytest.mark.parametrize(("made", "settings"), MADE)
def test_a_picture_does_not_depend_on_its_batch(made, settings):
    """Alone, in a batch, and in batches that run out of memory: the same picture."""
    case = NETWORKS["in_place_relu"]
    model, size = case.model(), case.shape
    targets = [logit(0), logit(1), logit(2)]
    recipe = Recipe(made, steps=6, **settings)
    together = solved(model, targets, recipe, size).pictures
    again = solved(model, targets, recipe, size).pictures
    assert torch.equal(together, again), "a seed fixes everything"
    split = solved(model, targets, recipe, size, most=1).pictures
    alone = solved(model, [logit(1)], recipe, size, seeds=[1]).pictures
    torch.testing.assert_close(split, together, rtol=0, atol=1e-4)
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-4)


def test_what_has_converged_gives_its_place_to_the_next(linear):
    """A saturated picture stops early; the others make all their steps."""
    recipe = Recipe(FREE, steps=400, tolerance=1e-3)
    found = solved(linear, [logit(0)] * 5, recipe, most=2)
    assert bool((found.steps < 400).all()) and bool((found.steps % 32 == 0).all())
    whole = solved(linear, [logit(0)] * 5, recipe)
    torch.testing.assert_close(found.pictures, whole.pictures)


# The model


def test_the_forward_pass_stops_at_the_target():
    ran = []
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten())
    model = seewhy.Model(net, mean=0.5, std=0.5)
    objective = Objective(model, [unit("1:2")], torch.full((1, *SIZE), 0.5))
    net[2].register_forward_hook(lambda *_: ran.append(1))
    solve(model, objective, Recipe(Pixels(), steps=3), SIZE, [0], Settings())
    assert not ran


@pytest.mark.parametrize("network", list(NETWORKS))
def test_every_network_is_read_and_left_as_it_was(network, unchanged):
    case = NETWORKS[network]
    model = case.model()
    try:
        seewhy.explain(model, case.pixels(1), "gradient", 1)
    except SeewhyError as error:
        pytest.skip(f"it has no gradients: {error}")
    recipe = Recipe(Fourier(), ROBUST, steps=2)
    net = model.net
    with unchanged(net):
        found = solved(model, [logit(1), logit(2)], recipe, case.shape).pictures
    assert bool(found.isfinite().all())
    alone = solved(model, [logit(2)], recipe, case.shape, seeds=[1]).pictures
    torch.testing.assert_close(alone[0], found[1], rtol=0, atol=1e-3)


def test_after_an_error_the_model_is_as_it_was(unchanged):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).train()
    model = seewhy.Model(net, mean=0.5, std=0.5)
    objective = Objective(model, [logit(0)], torch.full((1, *SIZE), 0.5))

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with unchanged(net), pytest.raises(KeyboardInterrupt):
        settings = Settings(progress=interrupted)
        solve(model, objective, Recipe(Pixels(), steps=5), SIZE, [0], settings)


def test_a_unit_that_nothing_activates_is_found():
    """Its bias keeps it below zero for all grey pictures: the gradient is zero everywhere."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        net[0].bias.fill_(-1.2)
        net[0].weight.copy_(0.15 * net[0].weight.sign())
    model = seewhy.Model(net, mean=0.5, std=0.5)
    found = solved(model, [unit("1:0")], Recipe(Pixels(), steps=60))
    assert float(found.scores[0]) > 0


def test_scores_that_are_not_finite_are_an_error():
    class Broken(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * torch.inf

    model = seewhy.Model(Broken(), mean=0.0, std=1.0)
    with pytest.raises(SeewhyError, match="NaN or infinite"):
        solved(model, [logit(0)], Recipe(Pixels(), steps=2))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 0}, "steps must be"),
        ({"tolerance": 1.0}, "tolerance must be"),
        ({"constraints": (NormBall(0.1),)}, "constraints apply to pixels"),
    ],
)
def test_bad_recipes(settings, says):
    with pytest.raises(SeewhyError, match=says):
        Recipe(Fourier(), **settings)
