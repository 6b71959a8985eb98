"""seewhy: see why your vision model decides as it does, and whether you can trust the answer.

    import seewhy

    model = seewhy.open_model("torchvision/resnet50")
    explanation = seewhy.explain(model, "dog.jpg", "grad-cam")
    explanation.save("dog.png")
    seewhy.compare(model, "dog.jpg").save("report.html")

What is listed here is loaded when it is first used, so that importing costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seewhy.version import __version__

if TYPE_CHECKING:
    from seewhy.attribution.method import Method
    from seewhy.baselines import add_baseline
    from seewhy.black_box import black_box, detection_score
    from seewhy.channel_masks import ExtremalChannels, extremal_channels
    from seewhy.channels import ChannelComparison, compare_channels
    from seewhy.concepts import Concepts, find_concepts
    from seewhy.errors import NotApplicable, SeewhyError
    from seewhy.explaining import compare, explain, methods
    from seewhy.explanation import Explanation, Panel
    from seewhy.images import load_picture
    from seewhy.model import Model
    from seewhy.responses import ResponseCurve, response_curve
    from seewhy.sources import open_model
    from seewhy.tap import ablate, add, capture, edited, replace, scale
    from seewhy.targets import difference, direction, each, total

_HOMES = {
    "baselines": ["add_baseline"],
    "attribution.method": ["Method"],
    "black_box": ["black_box", "detection_score"],
    "channels": ["ChannelComparison", "compare_channels"],
    "concepts": ["Concepts", "find_concepts"],
    "errors": ["NotApplicable", "SeewhyError"],
    "explaining": ["compare", "explain", "methods"],
    "explanation": ["Explanation", "Panel"],
    "channel_masks": ["ExtremalChannels", "extremal_channels"],
    "images": ["load_picture"],
    "model": ["Model"],
    "responses": ["ResponseCurve", "response_curve"],
    "sources": ["open_model"],
    "tap": ["ablate", "add", "capture", "edited", "replace", "scale"],
    "targets": ["difference", "direction", "each", "total"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ChannelComparison",
    "Concepts",
    "Explanation",
    "ExtremalChannels",
    "Method",
    "Model",
    "NotApplicable",
    "Panel",
    "ResponseCurve",
    "SeewhyError",
    "__version__",
    "ablate",
    "add",
    "add_baseline",
    "black_box",
    "capture",
    "compare",
    "compare_channels",
    "detection_score",
    "difference",
    "direction",
    "each",
    "edited",
    "explain",
    "extremal_channels",
    "find_concepts",
    "load_picture",
    "methods",
    "open_model",
    "replace",
    "response_curve",
    "scale",
    "total",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOME[name]}")
    # All of them: an import puts the module at its own name, and `black_box` is a function too.
    globals().update({each: getattr(home, each) for each in _HOMES[_HOME[name]]})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
