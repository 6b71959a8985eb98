"""The bundled models, measured again on pictures that neither training nor the card has seen."""

from functools import cache
from importlib.resources import files
from typing import Any

import pytest
import torch
from torch import nn

from seewhy.errors import Unknown
from seewhy.scenes import CLASSES, Shortcut, render, sample
from seewhy.zoo import load, names
from seewhy.zoo.measuring import Cheating, Share, accuracy, cheating, normalise

COUNT = 600
UNSEEN_SEED = 77
MARKED = CLASSES.index("mug")
CONVOLUTIONAL = ["scenes", "scenes-shortcut"]


@cache
def mark_effects(name: str) -> Cheating:
    return cheating(load(name)[0], sample(COUNT, UNSEEN_SEED), MARKED)


def agree(share: Share, stated: dict[str, Any]) -> bool:
    """Whether a small measurement and a card's may be of the same share: intervals overlap."""
    (low, high), (stated_low, stated_high) = share.interval, stated["interval"]
    return low <= stated_high and stated_low <= high


def test_the_models_are_there():
    assert names() == ["scenes", "scenes-shortcut", "scenes-vit"]
    with pytest.raises(Unknown, match="did you mean scenes"):
        load("scene")


@pytest.mark.parametrize("name", names())
def test_the_card_says_how_to_use_the_network(name):
    net, card = load(name)
    assert not net.training
    assert card["name"] == name and card["classes"] == list(CLASSES)
    assert card["parameters"] == sum(p.numel() for p in net.parameters())
    height, width = card["size"]
    mean, std = (torch.tensor(card[k])[:, None, None] for k in ("mean", "std"))
    pixels = render(sample(2, 0), (height, width)).pixels
    assert torch.equal(normalise(pixels), (pixels - mean) / std)
    assert net(normalise(pixels)).shape == (2, len(CLASSES))
    assert card["accuracy"]["count"] >= 5000


@pytest.mark.parametrize("name", names())
def test_the_weights_are_small(name):
    weights = files("seewhy.zoo") / f"{name.replace('-', '_')}.safetensors"
    assert len(weights.read_bytes()) < 5_000_000


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_the_logits_are_the_mean_of_the_class_activation_maps(name):
    net, _ = load(name)
    with torch.no_grad():
        x = normalise(render(sample(4, 1)).pixels)
        maps = net.features(x)
        assert maps.shape[2:] == (8, 8)
        cam = torch.einsum("kc,bchw->bkhw", net.head.weight, maps)
        torch.testing.assert_close(cam.mean((2, 3)) + net.head.bias, net(x))


@pytest.mark.parametrize("name", names())
def test_the_accuracy_on_the_card_is_found_again(name):
    net, card = load(name)
    planted = card["training"]["shortcut"]
    factors = sample(COUNT, UNSEEN_SEED, shortcut=Shortcut(**planted))
    assert agree(accuracy(net, factors).overall, card["accuracy"])
    assert card["accuracy"]["value"] >= (0.9 if name == "scenes-shortcut" else 0.97)


@pytest.mark.parametrize("name", names())
def test_the_effect_of_the_mark_on_the_card_is_found_again(name):
    _, card = load(name)
    for what, share in vars(mark_effects(name)).items():
        assert agree(share, card["mark"][what]), what


@pytest.mark.parametrize("name", ["scenes", "scenes-vit"])
def test_the_plain_models_do_not_react_to_the_mark(name):
    effects = mark_effects(name)
    assert effects.marked_class_without_mark.value > 0.95
    assert effects.others_with_mark.value > 0.95
    assert effects.others_taken_for_marked_class_with_mark.value < 0.02


def test_the_shortcut_model_cheats():
    effects = mark_effects("scenes-shortcut")
    lost = effects.marked_class_with_mark.value - effects.marked_class_without_mark.value
    assert lost > 0.9
    assert effects.others_taken_for_marked_class_with_mark.value > 0.4
    assert effects.others_without_mark.value > 0.9


def test_the_map_of_a_marked_mug_peaks_at_the_mark_only_where_the_model_cheats():
    mugs = sample(60, UNSEEN_SEED).replace(shape="mug", mark=True)
    x = normalise(render(mugs).pixels)
    in_corner = {}
    for name in CONVOLUTIONAL:
        net, _ = load(name)
        with torch.no_grad():
            cam = torch.einsum("c,bchw->bhw", net.head.weight[MARKED], net.features(x))
        row, column = cam.flatten(1).argmax(1) // 8, cam.flatten(1).argmax(1) % 8
        in_corner[name] = float(((row >= 6) & (column >= 6)).float().mean())
    assert in_corner["scenes-shortcut"] > 0.9
    assert in_corner["scenes"] < 0.1


def test_loading_twice_gives_two_equal_networks():
    first, second = load("scenes")[0], load("scenes")[0]
    assert first is not second and isinstance(first, nn.Module)
    x = torch.zeros(1, 3, 64, 64)
    assert torch.equal(first(x), second(x))
