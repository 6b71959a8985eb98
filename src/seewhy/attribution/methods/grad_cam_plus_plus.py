"""Grad-CAM++: where are all occurrences of the features that raise the score?

    relu(sum over channels k of w_k * A_k),   w_k = sum over positions of a * relu(g_k)
    a = g_k^2 / (2 g_k^2 + S_k g_k^3) = 1 / (2 + S_k g_k)

with g = d logit / d A and S_k = sum over positions of relu(A_k). Only positions that raise the
score count, and they count equally whether a feature occurs once or often. Aditya Chattopadhyay et
al.: Grad-CAM++, 2017, arXiv 1710.11063. The closed form holds for the exponential of the logit; its
factor exp(logit) is omitted, because it is the same at all positions. In the paper, A is the output
of a ReLU; for other maps, the ReLU in S keeps 2 + S g from vanishing.

It misleads where there is evidence against the class: weights are never negative, so a feature that
is evidence against the class as much as for it is still shown, and the map is less class-specific
than Grad-CAM's (Lerma, Lucas 2022, arXiv 2205.10838: nearly Grad-CAM with rectified gradients).

    seewhy.explain(model, "two_dogs.jpg", "grad-cam++")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.gradient_cams import GradientCAM, Maps


@dataclass(frozen=True)
class GradCAMPlusPlus(GradientCAM):
    """Feature maps weighted by their positive gradients, with equal weight for every occurrence.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    """

    name = "grad-cam++"
    question = "Where are all occurrences of the features that raise the score?"
    source = "Chattopadhyay et al. 2017, arXiv 1710.11063"

    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """Return w * A, where w >= 0 has one value per channel."""
        positive = gradients.relu()
        sums = maps.relu().sum((2, 3), keepdim=True)
        weights = (positive / (2 + sums * positive)).sum((2, 3), keepdim=True)
        return weights * maps
