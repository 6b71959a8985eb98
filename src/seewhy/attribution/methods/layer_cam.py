"""Layer-CAM: which places, at any layer, have features that would raise the score by growing?

    relu(sum over channels k of relu(g_k) * A_k),   g = d logit / d A, place by place

Peng-Tao Jiang et al.: LayerCAM: Exploring Hierarchical Class Activation Maps for Localization,
IEEE Transactions on Image Processing, 2021. Clean enough at shallow layers to show fine detail
there; the paper also adds up the maps of several layers, which is not done here.

It misleads where evidence is weighed: negative gradients are dropped, so what speaks against
the class is not held against a place, and the map does not sum to the score.

    seewhy.explain(model, "dog.jpg", "layer-cam", layer="layer2")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.gradient_cams import GradientCAM, Maps


@dataclass(frozen=True)
class LayerCAM(GradientCAM):
    """Feature maps weighted by their positive gradients, place by place.

    - `layer`: whose maps; None: found, and reported. - `relu`: keep only evidence for the class.
    """

    name = "layer-cam"
    question = "Which places have features that would raise the score by growing?"
    source = "Jiang et al., IEEE TIP 2021"

    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """relu(g) * A."""
        return gradients.relu() * maps
