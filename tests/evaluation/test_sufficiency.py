"""Sufficiency curves: compared with a plain loop, as a figure, as text and as JSON."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import seewhy
from networks import NETWORKS, as_model
from seewhy.evaluation.sufficiency_view import SHOWN, data
from seewhy.perturbation.perturbations import Pyramid
from seewhy.scenes import examples, render

AREAS = (0.3, 0.1, 0.5)
QUICK = {"areas": (0.3, 0.1, 0.5), "steps": 4}


@pytest.fixture(scope="module")
def explained() -> tuple[seewhy.Model, seewhy.Explanation]:
    model = seewhy.open_model("scenes")
    pixels = torch.cat([render(factors, 64).pixels for _, factors in examples(3)])
    targets = ["mug", "bottle", "ball"]
    return model, seewhy.explain(model, pixels, "extremal-perturbation", targets, **QUICK)


@pytest.fixture
def curve() -> seewhy.SufficiencyCurve:
    """A curve with made-up numbers: two pictures, three areas."""
    pixels = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    return seewhy.SufficiencyCurve(
        model="net",
        areas=AREAS,
        kept=torch.tensor([[0.5, 0.39, 0.9], [0.01, 0.0, 0.1]]),
        whole=torch.tensor([0.8, 0.3]),
        batch=as_model(NETWORKS["batch_norm"].build()).prepare(pixels),
        masks=torch.zeros(2, 3, 12, 16, dtype=torch.bool),
        hidden=1 - pixels,
        baseline="pyramid",
        targets=("dog", "cat"),
        notes=("a note",),
    )


def test_what_is_kept_is_what_a_plain_loop_finds(explained):
    model, e = explained
    curve = seewhy.sufficiency_curve(model, e)
    assert curve.kept.shape == (3, 3) and curve.areas == AREAS
    for i, pixels in enumerate(e.batch.pixels):
        target = int(e.target[i])
        blurred = Pyramid(pixels[None]).hidden
        assert float(curve.whole[i]) == pytest.approx(float(e.probabilities[i]), abs=1e-5)
        for k, area in enumerate(AREAS):
            soft = e.attribution[i, k].flatten().tolist()
            count = round(area * len(soft))
            best = sorted(range(len(soft)), key=lambda place: -soft[place])[:count]
            mask = torch.zeros(len(soft))
            mask[best] = 1
            mask = mask.view(64, 64)
            seen = mask * pixels + (1 - mask) * blurred
            expected = model(seen).softmax(1)[0, target]
            assert float(curve.kept[i, k]) == pytest.approx(float(expected), abs=1e-5)
            assert torch.equal(curve.seen(i, k), seen[0])


def test_parts_of_a_batch_are_the_whole(explained):
    model, e = explained
    whole, parts = (seewhy.sufficiency_curve(model, e, batch_size=n) for n in (None, 2))
    assert torch.allclose(whole.kept, parts.kept, atol=1e-5)
    assert torch.equal(whole.hidden, parts.hidden)
    alone = seewhy.sufficiency_curve(model, e[1])
    assert torch.allclose(whole.kept[1:2], alone.kept, atol=1e-5)


def test_memory_that_runs_out(explained, monkeypatch):
    model, e = explained
    expected = seewhy.sufficiency_curve(model, e).kept
    forward, room = seewhy.Model.forward, 2

    def small(self, pixels, *given):
        if len(pixels) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, pixels, *given)

    monkeypatch.setattr(seewhy.Model, "forward", small)
    curve = seewhy.sufficiency_curve(model, e, batch_size=4)
    assert torch.allclose(curve.kept, expected, atol=1e-5)
    assert curve.notes[-1] == "memory ran out at batches of 4; went on with 2"
    room = 0
    with pytest.raises(seewhy.SeewhyError, match="ran out of memory"):
        seewhy.sufficiency_curve(model, e)


@pytest.mark.parametrize("perturbation", ["black", "noise", "mean"])
def test_other_things_to_hide_behind(perturbation: str, tmp_path):
    net = NETWORKS["batch_norm"].build()
    model = as_model(net)
    pixels = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(1))
    e = seewhy.explain(
        model, pixels, "extremal-perturbation", baseline=perturbation, areas=(0.25,), steps=2
    )
    curve = seewhy.sufficiency_curve(model, e)
    expected = model(curve.seen(0, 0)[None]).softmax(1)[0, e.target]
    assert torch.allclose(curve.kept[0], expected, atol=1e-6)
    assert perturbation in curve.show().texts[0].get_text()
    assert float(curve.masks.float().mean()) == 0.25


def test_the_smallest_area_that_is_enough(curve):
    assert curve.enough().tolist() == [pytest.approx(0.3), pytest.approx(math.nan, nan_ok=True)]
    assert float(curve.enough(0.4)[0]) == pytest.approx(0.1)
    assert curve.suffices(0.3).tolist() == [[True, True, True], [False, False, True]]


@pytest.mark.parametrize("share", [0, -1, 1.1, math.nan])
def test_a_share_is_a_share(curve, share: float, tmp_path):
    for asked in (curve.enough, curve.summary, curve.show):
        with pytest.raises(seewhy.SeewhyError, match="above 0 and at most 1"):
            asked(share=share)
    for name in ("a.png", "a.json"):
        with pytest.raises(seewhy.SeewhyError, match="above 0 and at most 1"):
            curve.save(tmp_path / name, share=share)
    assert list(tmp_path.iterdir()) == []


def test_in_words(curve):
    first, *lines = curve.summary().splitlines()
    assert first == "model     net"
    assert lines[0].endswith(
        "dog 0.80; 30 % keep 0.50, 10 % keep 0.39, 50 % keep 0.90; 30 % are enough for half"
    )
    assert lines[1].endswith("10 % keep 0.00, 50 % keep 0.10; no area is enough for half")
    assert lines[2].startswith("mean      0.55; 30 % keep 0.25")
    assert lines[3] == "note      a note"
    assert "10 % are enough for 40 %" in curve.summary(share=0.4)


def test_as_json(curve, tmp_path):
    told = json.loads(curve.save(tmp_path / "c.json", share=0.4).read_text())
    assert told == data(curve, 0.4)
    assert (told["areas"], told["share"], told["hidden"]) == ([0.3, 0.1, 0.5], 0.4, "pyramid")
    assert [one["enough"] for one in told["pictures"]] == [0.1, None]
    assert told["pictures"][0]["kept"] == [0.5, 0.39, 0.9]
    assert told["pictures"][1] | {"source": ""} == {
        "source": "", "target": "cat", "whole": 0.3, "kept": [0.01, 0, 0.1], "enough": None
    }  # fmt: skip


def test_a_figure(curve, tmp_path):
    drawn = curve.show()
    words = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert len(drawn.axes) == 2 * 5
    assert words[0] == "dog 0.80"
    assert [w for w in words if " keep " in w][:3] == [
        "10 % keep 0.39", "30 % keep 0.50", "50 % keep 0.90",
    ]  # fmt: skip
    assert words.count("the smallest that is enough") == 1
    assert "enough: 30 %" in words and "no area is enough" in words
    assert "blurred" in drawn.texts[0].get_text()
    path = curve.save(tmp_path / "c.PNG", share=0.25)
    with Image.open(path) as image:
        assert image.format == "PNG" and image.width > 1500
    assert [file.name for file in tmp_path.iterdir()] == ["c.PNG"]


def test_many_areas_wrap_and_many_pictures_are_counted(curve):
    areas = tuple(0.01 * 1.5**i for i in range(9))
    wide = replace(
        curve, areas=areas, kept=torch.rand(2, 9), masks=curve.masks[:, :1].expand(-1, 9, -1, -1)
    )
    drawn = wide.show()
    assert len(drawn.axes) == 2 * 11 and drawn.get_size_inches()[0] < 18.5
    long = replace(
        curve,
        kept=torch.zeros(SHOWN + 2, 3),
        whole=torch.zeros(SHOWN + 2),
        targets=("dog",) * (SHOWN + 2),
        masks=curve.masks[:1].expand(SHOWN + 2, -1, -1, -1),
        hidden=curve.hidden[:1].expand(SHOWN + 2, -1, -1, -1),
        batch=type(curve.batch).joined([curve.batch] * (SHOWN // 2 + 1)),
    )
    drawn = long.show()
    assert len(drawn.axes) == SHOWN * 5
    assert " ".join(t.get_text() for t in drawn.texts).endswith("2 more pictures are not shown.")


def test_grey_pictures_and_one_logit(tmp_path):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 1),
    )  # fmt: skip
    model = seewhy.Model(net, mean=[0.5], std=[0.5])
    e = seewhy.explain(model, torch.rand(1, 1, 20, 24), "extremal-perturbation", **QUICK)
    curve = seewhy.sufficiency_curve(model, e)
    assert torch.allclose(curve.whole, e.logits.sigmoid()[:, 0])
    assert curve.save(tmp_path / "c.png").exists()


def test_the_network_is_left_as_it_was(explained):
    model, e = explained
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    model.net.train()
    seewhy.sufficiency_curve(model, e)
    assert model.net.training
    model.net.eval()
    assert all(torch.equal(value, before[n]) for n, value in model.net.state_dict().items())


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("stages.1:3", {}, "probability of a class"),
        (seewhy.difference("mug", "ball"), {}, "probability of a class"),
        ("mug", {"variant": "delete"}, "preserve or dual"),
    ],
)
def test_what_has_no_curve(explained, target, options: dict, words: str):
    model, e = explained
    other = seewhy.explain(
        model, e.batch.pixels[:1], "extremal-perturbation", target, areas=(0.2,), steps=2, **options
    )
    with pytest.raises(seewhy.NotApplicable, match=words) as error:
        seewhy.sufficiency_curve(model, other)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["c.gif", "c", "nowhere/c.png"])
def test_names_that_cannot_be_written(curve, name: str, tmp_path: Path):
    with pytest.raises(seewhy.SeewhyError) as error:
        curve.save(tmp_path / name)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_several_questions_about_a_picture(explained):
    model, e = explained
    target = seewhy.each("mug", "ball")
    both = seewhy.explain(model, e.batch.pixels[:1], "extremal-perturbation", target, **QUICK)
    curve = seewhy.sufficiency_curve(model, both)
    assert curve.targets == ("mug", "ball") and len(curve) == 2
    assert float(curve.whole.sum()) <= 1.0
