"""seewhy: see why your vision model decides as it does, and whether you can trust the answer.

import seewhy

model = seewhy.open_model("torchvision/resnet50")
explanation = seewhy.explain(model, "dog.jpg", "grad-cam")
explanation.save("dog.png")
seewhy.compare(model, "dog.jpg").save("report.html")
"""

from seewhy.attribution.method import Method
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.explaining import compare, explain, methods
from seewhy.explanation import Explanation, Panel
from seewhy.images import load_picture
from seewhy.model import Model
from seewhy.sources import open_model
from seewhy.tap import ablate, add, capture, edited, replace, scale
from seewhy.version import __version__

__all__ = [
    "Explanation",
    "Method",
    "Model",
    "NotApplicable",
    "Panel",
    "SeewhyError",
    "__version__",
    "ablate",
    "add",
    "capture",
    "compare",
    "edited",
    "explain",
    "load_picture",
    "methods",
    "open_model",
    "replace",
    "scale",
]
