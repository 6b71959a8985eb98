"""Grad-CAM: where are the features that raise the score?

    relu(sum over channels k of mean(d logit / d A_k) * A_k)

at the deepest layer that still has rows and columns, or any other. Ramprasaath Selvaraju et al.:
Grad-CAM, 2016, arXiv 1610.02391. For transformers, A is the patch tokens as maps, by default at the
last layer whose patches still influence the score.

    seewhy.explain(model, "dog.jpg", "grad-cam", layer="layer3")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.gradient_cams import GradientCAM, Maps


@dataclass(frozen=True)
class GradCAM(GradientCAM):
    """Feature maps weighted by their mean gradient.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    """

    name = "grad-cam"
    question = "Where are the features that raise the score?"
    source = "Selvaraju et al. 2016, arXiv 1610.02391"

    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """Return mean(g) * A."""
        return gradients.mean((2, 3), keepdim=True) * maps
