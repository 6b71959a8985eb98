"""Extremal perturbation: the published loop, areas, rewards, and measurements of the result."""

import pytest
import torch
from extremal_reference import exact_mask, extremal_mask

import seewhy
from networks import NETWORKS, as_model
from seewhy.perturbation.exact import ExactMasks
from seewhy.perturbation.smooth import SmoothMasks, area_loss, hardened
from seewhy.scenes import examples, render


def test_faithful_masks_are_those_of_the_published_loop():
    net = NETWORKS["batch_norm"].build().double()
    model = as_model(net)
    pixels = torch.rand(1, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    e = seewhy.explain(
        model,
        pixels,
        "extremal-perturbation",
        target=2,
        areas=(0.1, 0.3),
        algorithm="published",
        steps=50,
    )
    expected = [
        extremal_mask(lambda x: model(x)[0, 2], pixels.double(), area, 50) for area in (0.1, 0.3)
    ]
    assert float((e.attribution[0].double() - torch.stack(expected)).abs().max()) < 1e-4
    assert float(e.attribution.std()) > 0.01  # the maps are not constant
    assert (e.cost.forwards, e.cost.backwards) == (101, 100)


def test_our_masks_are_those_of_a_plain_loop():
    net = NETWORKS["batch_norm"].build().double()
    model = as_model(net)
    pixels = torch.rand(1, 3, 45, 56, generator=torch.Generator().manual_seed(1))
    e = seewhy.explain(model, pixels, "extremal-perturbation", target=2, areas=(0.1, 0.3), steps=19)

    def score(x):
        logits = model(x)[0]
        return logits.log_softmax(0)[2] + 0.1 * logits[2]

    expected = [exact_mask(score, pixels.double(), area, 19, of=19) for area in (0.1, 0.3)]
    found = e.attribution[0].double()
    assert float((found - torch.stack(expected)).abs().max()) < 1e-4
    assert float(found.std()) > 0.01
    assert torch.allclose(found.mean((1, 2)), torch.tensor([0.1, 0.3]).double(), atol=1e-4)


def test_smooth_maxima_are_pulled_back_as_autograd_does():
    masks = SmoothMasks((9, 11))
    lattices = torch.rand(2, *masks.lattice.shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(masks.of, lattices)


def test_the_threshold_moves_with_the_field():
    masks = ExactMasks((12, 15))
    lattices = torch.rand(2, *masks.lattice.shape, dtype=torch.float64, requires_grad=True)
    areas, softness = torch.tensor([0.2, 0.4]).double(), torch.tensor([0.1, 0.05]).double()
    assert torch.autograd.gradcheck(
        lambda lattice: masks.of(lattice, areas, softness), lattices, eps=1e-3, atol=2e-3
    )
    # The area is fixed, so a change of the lattice cannot change the sum.
    weights = torch.ones(12, 15).double()
    (gradient,) = torch.autograd.grad(
        (masks.of(lattices, areas, softness) * weights).sum(), lattices
    )
    assert float(gradient.abs().max()) < 1e-9


def test_a_mask_of_each_area_keeps_a_question_that_is_no_class(mug):
    model, pixels, _ = mug
    target = seewhy.difference("mug", "ball")
    options = {"areas": (0.1,), "steps": 20}
    ours = seewhy.explain(model, pixels, "extremal-perturbation", target, **options)
    plain = seewhy.explain(
        model, pixels, "extremal-perturbation", target, reward="logit", **options
    )
    pair = torch.stack([ours.heatmap.flatten(), plain.heatmap.flatten()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.9


def test_scores_that_are_not_finite_end_in_one_line(mug):
    model, pixels, _ = mug

    class Fails(torch.nn.Module):
        def forward(self, x):
            return x * float("nan") if x.requires_grad else x

    net = torch.nn.Sequential(Fails(), model.net)
    with pytest.raises(seewhy.SeewhyError, match="NaN or infinite") as error:
        seewhy.explain(seewhy.Model(net), pixels, "extremal-perturbation", areas=(0.05,), steps=4)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def mug() -> tuple[seewhy.Model, torch.Tensor, torch.Tensor]:
    scene = render(dict(examples())["mug"], 64)
    return seewhy.open_model("scenes"), scene.pixels, scene.masks["object"]


def test_what_is_kept_lies_on_the_object_and_suffices(mug):
    model, pixels, _ = mug
    e = seewhy.explain(model, pixels, "extremal-perturbation", "mug", areas=(0.05, 0.1, 0.2))
    curve = seewhy.sufficiency_curve(model, e)
    assert e.attribution.shape == (1, 3, 64, 64)
    assert torch.allclose(e.heatmap, e.attribution.sum(1))
    assert float(curve.kept[0, 2]) > 0.5
    first = next(a for a, kept in zip(curve.areas, curve.kept[0], strict=True) if kept > 0.499)
    assert float(curve.enough(0.499 / float(curve.whole))) == pytest.approx(first)


def test_areas_are_kept(mug):
    model, pixels, _ = mug
    e = seewhy.explain(model, pixels, "extremal-perturbation", areas=(0.1, 0.3))
    found = e.attribution.mean((0, 2, 3))
    assert torch.allclose(found, torch.tensor([0.1, 0.3]), atol=1e-4)


@pytest.mark.parametrize("variant", ["delete", "dual"])
def test_variants_change_the_mask(mug, variant: str):
    model, pixels, _ = mug
    options = {"areas": (0.1,), "steps": 20}
    preserve = seewhy.explain(model, pixels, "extremal-perturbation", **options)
    other = seewhy.explain(model, pixels, "extremal-perturbation", variant=variant, **options)
    assert not torch.allclose(preserve.attribution, other.attribution, atol=1e-2)


@pytest.mark.parametrize("reward", ["logit", "contrastive"])
@pytest.mark.parametrize("perturbation", ["black", "blur"])
def test_rewards_and_perturbations(mug, reward: str, perturbation: str):
    model, pixels, _ = mug
    e = seewhy.explain(
        model, pixels, "extremal-perturbation", areas=(0.2,), steps=12, reward=reward,
        baseline=perturbation,
    )  # fmt: skip
    assert bool(e.heatmap.isfinite().all()) and float(e.heatmap.std()) > 0


def test_hidden_units_and_several_questions(mug):
    model, pixels, _ = mug
    layer = model.find_layer(pixels)
    target = seewhy.each("mug", f"{layer}:3")
    both = seewhy.explain(model, pixels, "extremal-perturbation", target, areas=(0.1,), steps=9)
    one = seewhy.explain(
        model, pixels, "extremal-perturbation", f"{layer}:3", areas=(0.1,), steps=9
    )
    assert len(both) == 2
    assert torch.allclose(both[1].attribution, one.attribution, atol=1e-4)


def test_out_of_memory_is_survived_and_reported(mug):
    model, pixels, _ = mug
    pixels = torch.cat([pixels, pixels.flip(-1)])  # so that the first mask runs out of memory too

    class Small(torch.nn.Module):
        def forward(self, x):
            if len(x) > 1 and x.requires_grad:
                raise torch.OutOfMemoryError("out of memory")
            return x

    small = seewhy.Model(
        torch.nn.Sequential(Small(), model.net),
        mean=model.mean.flatten().tolist(), std=model.std.flatten().tolist(),
    )  # fmt: skip
    options = {"areas": (0.1, 0.2), "steps": 5}
    e = seewhy.explain(small, pixels, "extremal-perturbation", **options)
    assert sum("memory ran out" in note for note in e.notes) == 1
    expected = seewhy.explain(model, pixels, "extremal-perturbation", **options)
    # Adam divides by the size of a gradient: where that is nearly zero, rounding decides its sign.
    assert float((e.heatmap - expected.heatmap).abs().mean()) < 1e-3


def test_a_smooth_mask_of_ones_is_one_inside_and_area_loss_is_what_it_says():
    masks = SmoothMasks((30, 41))
    mask, _ = masks.of(torch.ones(2, *masks.lattice.shape))
    assert mask.shape == (2, 30, 41) and float(mask.min()) > 0.9
    wanted = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    assert float(area_loss(wanted, torch.tensor([0.25]))) == 0
    assert float(area_loss(wanted, torch.tensor([0.5]))) == 0.25


def test_hardened_masks_have_their_area_exactly():
    mask = hardened(torch.rand(3, 10, 10), 0.13)
    assert torch.equal(mask.sum((1, 2)), torch.full((3,), 13.0)) and set(
        mask.unique().tolist()
    ) == {0, 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"areas": (0.1, "x")}, "numbers such as|between 0 and 1"),
        ({"areas": (1.5,)}, "between 0 and 1"),
        ({"variant": "keep"}, "preserve"),
        ({"reward": "loss"}, "contrastive"),
        ({"baseline": "fog"}, "baseline"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_bad_options_end_in_one_line(options: dict, words: str):
    with pytest.raises(seewhy.SeewhyError, match=words) as error:
        seewhy.methods()["extremal-perturbation"](**options)
    assert "\n" not in str(error.value)


def test_the_response_curve_needs_its_method(mug):
    model, pixels, _ = mug
    e = seewhy.explain(model, pixels, "gradient")
    with pytest.raises(seewhy.NotApplicable, match="extremal-perturbation"):
        seewhy.sufficiency_curve(model, e)
