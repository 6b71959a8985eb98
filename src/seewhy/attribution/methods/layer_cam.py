"""Layer-CAM: at which positions, at any layer, would stronger features raise the score?

    relu(sum over channels k of relu(g_k) * A_k),   g = d logit / d A at each position

Peng-Tao Jiang et al.: LayerCAM: Exploring Hierarchical Class Activation Maps for Localization,
IEEE Transactions on Image Processing, 2021. At shallow layers it is clean enough to show fine
detail; the paper also adds up the maps of several layers, which is not done here.

It misleads where there is evidence against the class: negative gradients are dropped, so such
evidence does not lower the map, and the map does not sum to the score.

    seewhy.explain(model, "dog.jpg", "layer-cam", layer="layer2")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.gradient_cams import GradientCAM, Maps


@dataclass(frozen=True)
class LayerCAM(GradientCAM):
    """Feature maps weighted by their positive gradients at each position.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    """

    name = "layer-cam"
    question = "At which positions would stronger features raise the score?"
    source = "Jiang et al., IEEE TIP 2021"

    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """Return relu(g) * A."""
        return gradients.relu() * maps
