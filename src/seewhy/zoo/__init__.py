"""Small trained classifiers of scenes that come with the package.

- "scenes" knows the ten classes of `seewhy.scenes`, and ignores the mark;
- "scenes-vit" knows the same, and is a vision transformer;
- "scenes-shortcut" learnt from pictures where a mark gives one class away, and cheats.

Each comes with a card: what it is, how it was trained, and what was measured. `train.py` makes
them; `measuring.py` measures.

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
    """The names of the bundled models."""
    return list(_STEMS)


def load(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """A bundled network in eval mode, and its card.

    The network takes normalised pictures: `card["mean"]`, `card["std"]` and `card["size"]`
    (height, width) say how, `card["classes"]` names its outputs. Raises an Unknown error for
    a name that is not bundled.
    """
    if name not in _STEMS:
        raise Unknown("bundled model", name, _STEMS, hint="bundled are " + ", ".join(_STEMS))
    folder = files(__name__)
    card = json.loads((folder / f"{_STEMS[name]}.json").read_text())
    net = ARCHITECTURES[card["architecture"]](len(card["classes"]), card["widths"])
    with as_file(folder / f"{_STEMS[name]}.safetensors") as weights:
        net.load_state_dict(load_file(weights))
    return net.eval(), card
