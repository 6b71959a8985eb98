"""Masks over channels: what they keep, and that the edits they hand out do just that."""

import json
import os
from pathlib import Path

import pytest
import torch

import seewhy
from networks import NETWORKS
from seewhy.scenes import examples, render


@pytest.fixture(scope="module")
def found() -> tuple[seewhy.Model, seewhy.ExtremalChannels]:
    model = seewhy.open_model("scenes")
    pixels = torch.cat([render(dict(examples())[n], 64).pixels for n in ("mug", *_others())])
    return model, seewhy.extremal_channels(model, pixels, "stages.1", shares=(0.1, 0.3))


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
    assert "channels keep" in together.summary()


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
