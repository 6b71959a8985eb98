"""Grad-CAM++: where are all the places, however many, with features that raise the score?

    w_k = sum over places of a * relu(g_k),   a = g_k^2 / (2 g_k^2 + S_k g_k^3) = 1 / (2 + S_k g_k)
    relu(sum over channels k of w_k * A_k)

with g = d logit / d A and S_k = sum over places of relu(A_k). Only cells that raise the score
count, and they count alike whether a feature occurs once or often.
Aditya Chattopadhyay et al.: Grad-CAM++, 2017, arXiv 1710.11063. The closed form holds for the
exponential of the logit, whose factor exp(logit) is left out: it is common to all cells. The
paper's A are rectified; rectifying them in S keeps 2 + S g from vanishing elsewhere.

It misleads where evidence is weighed: weights are never negative, so a feature that speaks
against the class as much as for it is still shown, and the map is less specific to the class
than Grad-CAM's (Lerma, Lucas 2022, arXiv 2205.10838: nearly Grad-CAM with rectified gradients).

    seewhy.explain(model, "two_dogs.jpg", "grad-cam++")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.gradient_cams import GradientCAM, Maps


@dataclass(frozen=True)
class GradCAMPlusPlus(GradientCAM):
    """Feature maps weighted by their positive gradients, each occurrence alike.

    - `layer`: whose maps; None: found, and reported. - `relu`: keep only evidence for the class.
    """

    name = "grad-cam++"
    question = "Where are all the places with features that raise the score?"
    source = "Chattopadhyay et al. 2017, arXiv 1710.11063"

    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """w * A, of which w >= 0 has one value a channel."""
        positive = gradients.relu()
        sums = maps.relu().sum((2, 3), keepdim=True)
        weights = (positive / (2 + sums * positive)).sum((2, 3), keepdim=True)
        return weights * maps
