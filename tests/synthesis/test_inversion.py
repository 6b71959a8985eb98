"""Inversions: known answers, what is lost with depth, and what they refuse."""

import pytest
import torch
from torch import nn

import seewhy
from seewhy.errors import SeewhyError
from seewhy.scenes import examples, render
from seewhy.synthesis.closeness import closeness
from seewhy.synthesis.inversion import invert
from seewhy.synthesis.parametrisations import Pixels
from seewhy.synthesis.solver import Recipe


@pytest.fixture(scope="module")
def model() -> seewhy.Model:
    return seewhy.open_model("scenes")


@pytest.fixture(scope="module")
def room() -> torch.Tensor:
    return render(examples(1)[0][1], 64).pixels


def test_an_invertible_layer_gives_the_picture_back():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = seewhy.Model(net, mean=0.0, std=1.0)
    picture = 0.2 + 0.6 * torch.rand(1, 3, 16, 16)
    result = invert(model, picture, "0", prior=Recipe(Pixels(rate=0.05), steps=1500))
    assert float(result.error[0, 0]) < 1e-4
    torch.testing.assert_close(result.pictures[0, 0], picture[0], rtol=0, atol=0.05)


def test_what_a_layer_ignores_differs_between_restarts():
    """The network reads the left half only: there all restarts agree."""

    class Left(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 12, 1)

        def forward(self, x):
            return self.layer(x[..., :8]).mean((2, 3))

    torch.manual_seed(0)
    model = seewhy.Model(Left(), mean=0.0, std=1.0)
    picture = 0.2 + 0.6 * torch.rand(1, 3, 16, 16)
    result = invert(model, picture, "layer", prior=Recipe(Pixels(), steps=600), restarts=3)
    deviation = result.pictures[0].std(0).mean((0, 1))
    assert float(deviation[:8].max()) < 0.01 < float(deviation[8:].min())
    assert float(result.spread[0]) == pytest.approx(float(deviation.mean()), rel=1e-4)


def test_errors_are_those_of_the_definition(model, room):
    result = invert(model, room, ["stages.0", "stages.2"], prior="fourier", steps=40)
    for number, layer in enumerate(result.layers):
        there = seewhy.capture(model, room, [layer])[layer]
        here = seewhy.capture(model, result.pictures[number], [layer])[layer]
        expected = float((here - there).pow(2).sum() / there.pow(2).sum())
        assert float(result.error[number, 0]) == pytest.approx(expected, rel=1e-3)
        assert expected < 0.2


def test_priors_give_smoother_pictures(model, room):
    def roughness(prior: str) -> float:
        picture = invert(model, room, "stages.2", prior=prior, steps=60).pictures[0, 0]
        return float((picture[:, 1:] - picture[:, :-1]).pow(2).mean())

    assert roughness("natural") < roughness("fourier") < roughness("none")


def test_only_the_named_channels_have_to_match(model, room):
    result = invert(model, room, "stages.2", channels=[3, 8], prior="fourier", steps=60)
    there = seewhy.capture(model, room, ["stages.2"])["stages.2"][0]
    here = seewhy.capture(model, result.pictures[0], ["stages.2"])["stages.2"][0]
    apart = (here - there).pow(2).flatten(1).sum(1)
    size = there.pow(2).flatten(1).sum(1)
    matched = float(apart[[3, 8]].sum() / size[[3, 8]].sum())
    assert matched == pytest.approx(float(result.error[0, 0]), rel=1e-3)
    assert matched < 0.3 * float(apart.sum() / size.sum())


def test_edits_change_what_is_matched(model, room):
    edits = {"stages.1:3": seewhy.ablate()}
    result = invert(model, room, "stages.1", edits=edits, prior="fourier", steps=60)
    here = seewhy.capture(model, result.pictures[0], ["stages.1"])["stages.1"][0, 3]
    there = seewhy.capture(model, room, ["stages.1"])["stages.1"][0, 3]
    assert float(here.pow(2).sum()) < float(there.pow(2).sum())


def test_closeness_is_1_for_the_picture_itself(model, room):
    found = closeness(model, torch.stack([room, torch.rand_like(room)], 1), room[0])
    assert float(found[0, 0]) == pytest.approx(1, abs=1e-5)
    assert float(found[0, 1]) < 0.999
    result = invert(model, room, "stages.1", judge="scenes-vit", steps=5)
    assert result.judge == "scenes-vit" and result.closeness.shape == (1, 1)


@pytest.mark.parametrize(
    ("layer", "settings", "says"),
    [
        ("stages.9", {}, "unknown layer"),
        ([], {}, "no layer given"),
        ("stages.1", {"prior": "nature"}, "unknown prior"),
        ("stages.1", {"restarts": 0}, "restarts must be"),
        ("stages.1", {"channels": [400]}, "channels, counted from 0"),
        ("stages.1", {"channels": []}, "name some of them"),
        ("stages.1", {"seed": -3}, "the seed must be"),
    ],
)
def test_bad_input_is_one_line(model, room, layer, settings, says):
    with pytest.raises(SeewhyError, match=says):
        invert(model, room, layer, steps=2, **{"prior": "none", **settings})


def test_one_picture_at_a_time(model, room):
    with pytest.raises(SeewhyError, match="invert one at a time"):
        invert(model, room.expand(2, -1, -1, -1), "stages.1")
