"""Extremal channels: the probabilities they keep, and the edits that reproduce them."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.transforms.functional import to_pil_image

import seewhy
from networks import NETWORKS
from seewhy.activations.exemplars import exemplars_of
from seewhy.concepts.extremal_channels_view import crop, data
from seewhy.images import Preparation, prepare
from seewhy.scenes import examples, render, sample


@pytest.fixture(scope="module")
def found() -> tuple[seewhy.Model, seewhy.ExtremalChannels]:
    model = seewhy.open_model("scenes")
    pixels = torch.cat([render(dict(examples())[n], 64).pixels for n in ("mug", *_others())])
    return model, seewhy.extremal_channels(model, pixels, "stages.1", shares=(0.1, 0.3))


def texts(drawn) -> str:
    return "\n".join(text.get_text() for part in (drawn, *drawn.axes) for text in part.texts)


def _others() -> list[str]:
    return [name for name, _ in examples() if name != "mug"][:2]


def test_edits_keep_the_channels_that_were_found_and_more_than_random_ones(found):
    model, channels = found
    share = 0.3
    kept, others = [], []
    generator = torch.Generator().manual_seed(0)
    count = channels.masks.shape[2]
    for picture in range(len(channels)):
        pixels = channels.batch.pixels[picture][None]
        target = model(pixels).argmax(1)
        drawn = torch.randperm(count, generator=generator)[: round(share * count)]
        mask = torch.zeros(count).index_fill_(0, drawn, 1.0).view(1, -1, 1, 1)
        with seewhy.edited(model, {"stages.1": lambda a, mask=mask: a * mask}):
            others.append(model(pixels).softmax(1)[0, target])
        with seewhy.edited(model, channels.edits(picture, share)):
            kept.append(model(pixels).softmax(1)[0, target])
    assert torch.allclose(torch.cat(kept), channels.kept[:, 1], atol=1e-4)
    assert float(torch.cat(kept).mean()) > float(torch.cat(others).mean())


@pytest.mark.slow
@pytest.mark.skipif("SEEWHY_REAL" not in os.environ, reason="SEEWHY_REAL names no real models")
def test_on_photographs_they_keep_more_than_the_most_active_channels():
    real = Path(os.environ["SEEWHY_REAL"])
    weights = real / "models/squeezenet1_1_imagenet_fp16.safetensors"
    model = seewhy.open_model("torchvision/squeezenet1_1", weights=str(weights))
    photos = [str(p) for p in sorted((real / "images/imagenet").glob("*.jpg"))[::80][:5]]
    found = seewhy.extremal_channels(model, photos, "features.9", shares=(0.2,), steps=60)
    active = []
    for i, target in enumerate(model(found.batch.pixels).argmax(1).tolist()):
        best = found.activity[i].topk(found.ranked(0.2).shape[1]).indices
        mask = torch.zeros(found.masks.shape[2]).index_fill_(0, best, 1.0).view(1, -1, 1, 1)
        with seewhy.edited(model, {"features.9": lambda a, mask=mask: a * mask}):
            active.append(float(model(found.batch.pixels[i : i + 1]).softmax(1)[0, target]))
    assert float(found.kept.mean()) > 1.5 * sum(active) / len(active)


def test_one_mask_for_all(found):
    model, channels = found
    together = seewhy.extremal_channels(
        model, channels.batch, "stages.1", shares=(0.3,), steps=10, together=True
    )
    assert bool((together.masks == together.masks[:1]).all())
    said = together.summary().splitlines()
    assert len(said) == 1 + 3 + 1 and said[-1].startswith("All 3 pictures on average: ")
    mean = f"{float(together.kept.mean()):.3g}"
    same = int(together.same.sum())
    assert f"channels keep {mean}, same class in {same} of 3" in said[-1]
    values = data(together)
    assert values["mean"]["whole"] == pytest.approx(float(together.whole.mean()), rel=1e-4)
    drawn = texts(together.show())
    assert "on average" in drawn and drawn.count("→") == 3, "each picture has its own cell"


def test_one_mask_keeps_a_class_in_pictures_it_has_not_seen():
    model = seewhy.open_model("scenes")
    factors = sample(40, seed=5).replace(shape=0, mark=False)
    pixels = render(factors, 64).pixels
    sure = model(pixels).softmax(1)[:, 0] > 0.8
    pixels = pixels[sure][:16]
    found = seewhy.extremal_channels(
        model, pixels[:8], "stages.1", target=0, shares=(0.3,), together=True, steps=60
    )
    with seewhy.edited(model, found.edits(0, 0.3)):
        others = model(pixels[8:]).softmax(1)[:, 0].mean()
    generator = torch.Generator().manual_seed(1)
    count = found.masks.shape[2]
    by_chance = []
    for _ in range(10):
        drawn = torch.randperm(count, generator=generator)[: round(0.3 * count)]
        mask = torch.zeros(count).index_fill_(0, drawn, 1.0).view(1, -1, 1, 1)
        with seewhy.edited(model, {"stages.1": lambda a, mask=mask: a * mask}):
            by_chance.append(model(pixels[8:]).softmax(1)[:, 0].mean())
    assert float(others) > 2 * float(torch.stack(by_chance).mean())


def test_of_more_pictures_than_lines_the_rest_is_counted():
    model = seewhy.open_model("scenes")
    pixels = torch.cat([render(factors, 64).pixels for _, factors in examples()])[:5]
    found = seewhy.extremal_channels(model, pixels, "stages.1", steps=2, together=True)
    drawn = texts(found.show())
    assert drawn.count("→") == 3 and "and 2 more" in drawn


def test_channels_are_shown_in_photographs(found, tmp_path):
    model, channels = found
    for name, factors in examples():
        to_pil_image(render(factors, 96).pixels[0]).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_text("no picture")
    told = []
    shown = seewhy.extremal_channels(
        model, channels.batch[:1], "stages.1", shares=(0.1, 0.3), steps=4,
        photographs=tmp_path, progress=lambda what, share: told.append((what, share)),
    )  # fmt: skip
    assert [what for what, _ in told][:: len(told) - 1] == ["photographs", "extremal channels"]
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1
    # The best photograph of a channel is the one with its highest activation.
    channel = int(shown.ranked(0.1)[0, 0])
    pixels = model.prepare([p for p in sorted(tmp_path.glob("*.png")) if p.stem != "broken"])
    maps = seewhy.capture(model, pixels.pixels, ["stages.1"])["stages.1"][:, channel]
    best = pixels.pictures[int(maps.amax((1, 2)).argmax())].source
    assert shown.exemplars.sources[int(shown.exemplars.picture[0, channel])] == best
    drawn = texts(shown.show())
    assert Path(best).name in drawn and f"of {len(examples())} photographs" in drawn
    said = shown.summary()
    assert f"from {len(examples())} photographs" in said and "left out  " in said
    values = data(shown)
    assert values["photographs"] == len(examples()) + 1 and len(values["left_out"]) == 1
    assert values["exemplars"][str(channel)][0]["source"] == best
    assert len(values["exemplars"][str(channel)]) == 3


@pytest.mark.parametrize(("row", "column"), [(0.5, 0.5), (0.02, 0.97), (0.7, 0.3)])
def test_a_crop_is_centred_on_the_peak_and_cut_from_the_original(row: float, column: float):
    """The model's input is smaller than the original, and cropped from the middle of a wide one."""
    preparation = Preparation(size=(40, 40), resize=50)
    wide = torch.zeros(3, 200, 400)
    peak = (20 + row * 160, 120 + column * 160)  # the model's input covers 160 of 200 rows
    wide[:, int(peak[0]) - 3 : int(peak[0]) + 3, int(peak[1]) - 3 : int(peak[1]) + 3] = 1
    batch = prepare(wide, preparation)
    maps = batch.pixels[:, :1]
    exemplars = exemplars_of(maps, batch, 1)
    cut = crop(exemplars, 0, 0)
    weights = cut.mean(0) / cut.mean(0).sum()
    places = (torch.arange(cut.shape[1]) + 0.5) / cut.shape[1]
    found = float((weights.sum(1) * places).sum()), float((weights.sum(0) * places).sum())
    half = 0.15
    for place, at in zip((row, column), found, strict=True):
        start = min(max(place - half, 0), 1 - 2 * half)
        assert at == pytest.approx((place - start) / (2 * half), abs=0.06)


def test_grey_models_and_tiny_pictures_are_drawn():
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)
    )
    model = seewhy.Model(net, mean=[0.5], std=[0.5])
    pictures = torch.rand(2, 1, 8, 9)
    channels = seewhy.extremal_channels(model, pictures, "0", steps=2, photographs=pictures)
    drawn = channels.show()
    assert "array 1" in texts(drawn)


def test_saved_as_a_figure_and_as_numbers(found, tmp_path):
    _, channels = found
    assert channels.save(tmp_path / "c.png").stat().st_size > 10_000
    values = json.loads(channels.save(tmp_path / "c.json").read_text())
    assert len(values["pictures"]) == 3
    row = values["pictures"][0]["shares"][0]
    assert row["share"] == 0.1 and len(row["channels"]) == max(1, round(0.1 * values["channels"]))
    with pytest.raises(seewhy.SeewhyError, match="png"):
        channels.save(tmp_path / "c.doc")


@pytest.mark.parametrize(
    "network", ["vit", "convnext_like", "squeeze_and_excite", "residual_in_place"]
)
def test_any_layout(network: str, unchanged):
    case = NETWORKS[network]
    net = case.build()
    model = seewhy.Model(net)
    with unchanged(net):
        channels = seewhy.extremal_channels(model, case.pixels(2), steps=3)
    assert channels.masks.shape[:2] == (2, 1) and bool(channels.kept.isfinite().all())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"shares": (2,)}, "between 0 and 1"), ({"steps": 0}, "one step"), ({"layer": "no"}, "layer")],
)
def test_bad_input_ends_in_one_line(options: dict, words: str):
    case = NETWORKS["batch_norm"]
    with pytest.raises(seewhy.SeewhyError, match=words):
        seewhy.extremal_channels(case.model(), case.pixels(), **options)


def test_masks_of_a_half_precision_network_are_those_of_its_twin():
    case = NETWORKS["batch_norm"]
    twin, net = case.build(), case.build().half()
    expected = seewhy.extremal_channels(seewhy.Model(twin), case.pixels(2), target=1, steps=20)
    found = seewhy.extremal_channels(seewhy.Model(net), case.pixels(2), target=1, steps=20)
    assert found.masks.dtype == torch.float32 and bool(found.masks.isfinite().all())
    torch.testing.assert_close(found.masks, expected.masks, atol=0.05, rtol=0)
    torch.testing.assert_close(found.kept, expected.kept, atol=5e-3, rtol=0)


class Small(nn.Module):
    """A module that runs out of memory above `most` pictures."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_memory_that_runs_out_is_survived_and_reported(most: int, together: bool):
    case = NETWORKS["batch_norm"]
    options = {"target": 1, "shares": (0.2, 0.5, 0.7), "steps": 8, "together": together}

    def of(room: int) -> seewhy.ExtremalChannels:
        model = seewhy.Model(nn.Sequential(Small(room), case.build()))
        return seewhy.extremal_channels(
            model, case.pixels(), "1.2", photographs=case.pixels(), **options
        )

    found, expected = of(most), of(1000)
    torch.testing.assert_close(found.masks, expected.masks, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.kept, expected.kept, atol=1e-4, rtol=0)
    assert torch.equal(found.exemplars.picture, expected.exemplars.picture)
    assert not expected.notes and "memory" not in expected.summary()
    assert any(note.endswith(f"went on with {most}") or most == 5 for note in found.notes)
    assert found.summary().count("memory ran out") == len(found.notes) > 0
    assert data(found)["notes"] == list(found.notes)


def test_no_memory_for_one_picture_is_said_in_a_line():
    case = NETWORKS["batch_norm"]
    small = Small(1000)
    model = seewhy.Model(nn.Sequential(small, case.build()))
    model.layer_graph(case.pixels())
    small.most = 0
    with pytest.raises(seewhy.SeewhyError, match="one picture of 24x24; use smaller"):
        seewhy.extremal_channels(model, case.pixels(), "1.2", steps=2)


def test_a_mixture_of_questions_does_not_depend_on_the_batches():
    case = NETWORKS["batch_norm"]
    model, targets = case.model(), [1, "5:0", 2]
    found, expected = (
        seewhy.extremal_channels(model, case.pixels(), "2", targets, steps=5, batch_size=size)
        for size in (1, None)
    )
    torch.testing.assert_close(found.masks, expected.masks, atol=1e-3, rtol=0)
    assert found.targets == expected.targets
