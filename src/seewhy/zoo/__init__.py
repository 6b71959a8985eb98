"""Small trained scene classifiers that are bundled with the package.

- "scenes" classifies the ten classes of `seewhy.scenes` and ignores the mark;
- "scenes-vit" does the same with a vision transformer;
- "scenes-shortcut" was trained on pictures in which a mark predicts one class, and relies on it.

Each has a model card with its description, training settings and measurements. `train.py` trains
the models; `measuring.py` evaluates them.

>>> net, card = load("scenes")
>>> card["classes"][:3], card["size"]
(['ball', 'box', 'pyramid'], [64, 64])
"""

import json
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from typing import Any

from safetensors.torch import load_file
from torch import nn

from seewhy.errors import Unknown
from seewhy.zoo.network import SceneNet
from seewhy.zoo.vit import SceneViT

ARCHITECTURES: dict[str, Callable[[int, Sequence[int]], nn.Module]] = {
    "SceneNet": SceneNet,
    "SceneViT": SceneViT,
}

_STEMS = {
    "scenes": "scenes",
    "scenes-shortcut": "scenes_shortcut",
    "scenes-vit": "scenes_vit",
}


def names() -> list[str]:
    """Return the names of the bundled models."""
    return list(_STEMS)


def load(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """Load a bundled network in eval mode, and its model card.

    The network expects normalised pictures, with `card["mean"]`, `card["std"]` and `card["size"]`
    (height, width); `card["classes"]` names its outputs. Raises Unknown for a name that is not
    bundled.
    """
    if name not in _STEMS:
        raise Unknown("bundled model", name, _STEMS, hint="one of " + ", ".join(_STEMS))
    folder = files(__name__)
    card = json.loads((folder / f"{_STEMS[name]}.json").read_text())
    net = ARCHITECTURES[card["architecture"]](len(card["classes"]), card["widths"])
    with as_file(folder / f"{_STEMS[name]}.safetensors") as weights:
        net.load_state_dict(load_file(weights))
    return net.eval(), card
