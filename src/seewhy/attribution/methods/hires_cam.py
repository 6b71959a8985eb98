"""HiResCAM: which positions does the score use, if it is linear in the features?

    relu(sum over channels k of g_k * A_k),   g = d logit / d A at each position

Rachel Draelos, Lawrence Carin: Use HiResCAM instead of Grad-CAM for faithful explanations, 2020,
arXiv 2011.08891. The gradient is not averaged, so a position that the score ignores stays dark.
If one linear layer follows the maps, with or without average pooling, the map without `relu` sums
to logit - bias. Without `relu`, it is `input-x-gradient` at the layer.

It misleads at shallow layers, where the score is far from linear in the features and the map is as
noisy as a gradient.

    seewhy.explain(model, "dog.jpg", "hires-cam", relu=False)
"""

from dataclasses import dataclass

from seewhy.attribution.methods.gradient_cams import GradientCAM, Maps


@dataclass(frozen=True)
class HiResCAM(GradientCAM):
    """Feature maps weighted by their gradient at each position.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    """

    name = "hires-cam"
    question = "Which positions does the score use, if linear in the features?"
    source = "Draelos, Carin 2020, arXiv 2011.08891"

    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """Return g * A."""
        return gradients * maps
