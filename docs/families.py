"""The families of attribution methods; each has a page, a figure and a table.

A test fails if a registered method belongs to no family. Methods and models that a family names
but that do not exist yet are skipped.
"""

from dataclasses import dataclass
from pathlib import Path

import seewhy
from seewhy import zoo
from seewhy.attribution.explain import parse_methods
from seewhy.attribution.method import Method, as_method

# Fewer samples than by default, because scenes are small.
SAMPLES = {
    "rise": {"masks": 1000},
    "lime": {"samples": 500},
    "kernel-shap": {"samples": 500},
}

PAGES = Path(__file__).parent / "attribution"


@dataclass(frozen=True)
class Family:
    """Methods that work alike and are interpreted alike.

    - `name`: the file name of its page and of its figure. - `methods`: in the order of the figure.
    - `model`: the bundled model that its page shows.
    - `layer`: the layer used on that page; None: the default layer.
    """

    name: str
    title: str
    methods: tuple[str, ...]
    model: str = "scenes"
    layer: str | None = None

    @property
    def registered(self) -> list[str]:
        """The names of the methods that exist."""
        known = seewhy.methods()
        return [name for name in self.methods if name in known]

    @property
    def asked(self) -> list[Method]:
        """The methods that exist, configured as on the page."""
        methods = [as_method(name, **SAMPLES.get(name, {})) for name in self.registered]
        return parse_methods(methods, self.layer)

    @property
    def shown(self) -> bool:
        """Whether at least one method and the model exist."""
        return bool(self.registered) and self.model in zoo.names()

    @property
    def page(self) -> Path:
        """The path of the family's Markdown page."""
        return PAGES / f"{self.name}.md"


FAMILIES = (
    Family(
        "gradients",
        "Gradients of the score",
        ("gradient", "input-x-gradient", "smoothgrad", "integrated-gradients"),
    ),
    Family("rectifiers", "Other ways back through a rectifier", ("deconvnet", "guided-backprop")),
    Family(
        "cams",
        "Class activation maps",
        (
            "cam", "grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "eigen-cam",
            "fullgrad", "score-cam", "ablation-cam",
        ),
    ),
    Family(
        "excitation",
        "Excitation backpropagation",
        ("excitation-backprop", "contrastive-excitation-backprop"),
        layer="stages.1",
    ),
    Family(
        "lrp",
        "Layer-wise relevance propagation",
        (
            "lrp-epsilon", "lrp-epsilon-plus", "lrp-epsilon-plus-flat",
            "lrp-epsilon-alpha2-beta1", "lrp-epsilon-alpha2-beta1-flat", "lrp-epsilon-gamma-box",
        ),
    ),
    Family("differences", "Differences from a baseline, layer by layer", ("deep-lift",)),
    Family(
        "perturbation",
        "Change the input and watch",
        ("occlusion", "rise", "lime", "kernel-shap"),
    ),
    Family(
        "masks",
        "The smallest part that suffices",
        ("extremal-perturbation", "meaningful-perturbation"),
    ),
    Family("attention", "Attention", ("attention-rollout", "gradient-rollout"), "scenes-vit"),
)  # fmt: skip
