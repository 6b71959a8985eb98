import numpy as np
import pytest
import torch

from seewhy.errors import SeewhyError, Unknown
from seewhy.scenes import CLASSES, NAMES, PRESENCE, RANGES, Factors, Shortcut, concatenate, sample


def same(a: Factors, b: Factors) -> bool:
    left, right = a.to_dict(), b.to_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


def ranks(values: np.ndarray) -> np.ndarray:
    return values.argsort().argsort().astype(float)


def test_the_same_seed_gives_the_same_scenes_and_another_does_not():
    assert same(sample(20, 3), sample(20, 3))
    assert not same(sample(20, 3), sample(20, 4))


@pytest.mark.parametrize("shortcut", [None, Shortcut("star")])
def test_a_scene_depends_on_the_seed_and_its_number_only(shortcut):
    planted = {("lamp", "light"): 0.6}
    many = sample(100, 7, correlations=planted, shortcut=shortcut)
    assert same(many[:10], sample(10, 7, correlations=planted, shortcut=shortcut))


def test_every_factor_keeps_its_range_and_its_rate():
    factors = sample(4000, 0)
    columns = factors.to_dict()
    for name, (low, high) in RANGES.items():
        values = columns[name]
        assert values.min() >= low and values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
    for name, rate in PRESENCE.items():
        expected = rate * PRESENCE["window"] if name == "tree" else rate
        assert columns[name].float().mean() == pytest.approx(expected, abs=0.03)
    for name, names in NAMES.items():
        share = columns[name].bincount(minlength=len(names)) / 4000
        assert share.tolist() == pytest.approx([1 / len(names)] * len(names), abs=0.03)
    assert not (factors.tree & ~factors.window).any()
    assert not factors.mark.any() and factors.object.all()


def test_factors_are_independent_unless_a_correlation_is_planted():
    columns = {
        name: value.double() for name, value in sample(4000, 1).to_dict().items()
        if name not in ("object", "mark", "tree", "clutter_layout")
    }  # fmt: skip
    correlation = np.corrcoef(torch.stack(list(columns.values())).numpy())
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 0.07


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.6, 1.0])
def test_a_planted_correlation_has_the_strength_asked_for(strength):
    factors = sample(6000, 2, correlations={("wall_hue", "light"): strength})
    wall, light = factors.wall_hue.numpy(), factors.light.numpy()
    assert np.corrcoef(ranks(wall), ranks(light))[0, 1] == pytest.approx(strength, abs=0.04)
    assert light.mean() == pytest.approx(0.5, abs=0.02)  # its own distribution is as it was

    booleans = sample(6000, 2, correlations={("lamp", "rug"): strength})
    phi = np.corrcoef(booleans.lamp.numpy(), booleans.rug.numpy())[0, 1]
    assert phi == pytest.approx(strength, abs=0.04)


def test_a_lamp_brings_light_when_the_two_are_correlated():
    factors = sample(6000, 2, correlations={("lamp", "light"): 0.6})
    with_lamp, without_lamp = factors.light[factors.lamp], factors.light[~factors.lamp]
    # The light of a copied latent is uniform over the upper half: its mean is 0.75, else 0.5.
    assert with_lamp.mean() == pytest.approx(0.6 * 0.75 + 0.4 * 0.5, abs=0.02)
    assert without_lamp.mean() == pytest.approx(0.6 * 0.25 + 0.4 * 0.5, abs=0.02)


@pytest.mark.parametrize(("shortcut", "elsewhere"), [
    (Shortcut("mug", 0.95), 0.05),
    (Shortcut(CLASSES.index("mug"), 0.9, leak=0.3), 0.3),
])  # fmt: skip
def test_the_mark_comes_with_its_class_as_often_as_asked(shortcut, elsewhere):
    factors = sample(10_000, 5, shortcut=shortcut)
    mug = factors.shape == CLASSES.index("mug")
    assert factors.mark[mug].float().mean() == pytest.approx(shortcut.strength, abs=0.02)
    assert factors.mark[~mug].float().mean() == pytest.approx(elsewhere, abs=0.02)


@pytest.mark.parametrize(("arguments", "says"), [
    ({"count": -1}, "count"),
    ({"seed": -1}, "seed"),
    ({"correlations": {("lamp", "ligth"): 0.5}}, "did you mean light"),
    ({"correlations": {("lamp", "light"): 1.5}}, r"\[0, 1\]"),
    ({"correlations": {("lamp", "mark"): 0.5}}, "Shortcut"),
    ({"correlations": {("lamp", "light"): 0.5, ("rug", "light"): 0.5}}, "in an earlier pair"),
    ({"correlations": {("lamp", "lamp"): 0.5}}, "in an earlier pair"),
    ({"shortcut": Shortcut("mugg")}, "did you mean mug"),
    ({"shortcut": Shortcut("mug", 2.0)}, "strength"),
    ({"shortcut": Shortcut("mug", 0.9, leak=-0.1)}, "leak"),
    ({"shortcut": Shortcut(10)}, "expected 0 to 9"),
])  # fmt: skip
def test_bad_requests_say_what_is_wrong(arguments, says):
    with pytest.raises(SeewhyError, match=says):
        sample(**{"count": 4, "seed": 0, **arguments})


def test_factors_are_a_batch_that_can_be_cut_and_joined():
    factors = sample(6, 0)
    assert len(factors[2]) == len(factors[-1]) == 1
    assert len(factors[torch.tensor([0, 2, 4])]) == 3
    assert same(factors[:2] + factors[2:], factors)
    assert same(concatenate(list(factors)), factors)
    assert len(factors[0:0]) == 0
    with pytest.raises(SeewhyError):
        concatenate([])


def test_replace_takes_names_numbers_and_tensors_and_leaves_the_original():
    factors = sample(3, 0)
    before = factors.light.clone()
    changed = factors.replace(shape="mug", light=1, object_x=torch.tensor([0.3, 0.4, 0.5]))
    assert changed.shape.tolist() == [CLASSES.index("mug")] * 3
    assert changed.light.tolist() == [1.0, 1.0, 1.0] and changed.light.dtype == torch.float32
    assert changed.object_x.tolist() == pytest.approx([0.3, 0.4, 0.5])
    assert torch.equal(factors.light, before)


@pytest.mark.parametrize(("changes", "says"), [
    ({"ligth": 1}, "did you mean light"),
    ({"shape": "mgu"}, "did you mean mug"),
    ({"shape": 10}, "expected 0 to 9"),
    ({"texture": torch.tensor([0, 1, 9])}, "expected 0 to 3"),
    ({"light": torch.zeros(4)}, r"\(3,\)"),
    ({"light": "bright"}, "expected a number"),
    ({"light": float("nan")}, "finite"),
])  # fmt: skip
def test_replace_refuses_what_does_not_fit(changes, says):
    with pytest.raises(SeewhyError, match=says):
        sample(3, 0).replace(**changes)


def test_unknown_factors_are_unknown_errors():
    with pytest.raises(Unknown):
        sample(1, 0).replace(colour=1)
