"""XGrad-CAM: where are the active features that raise the score?

    w_k = sum over positions of |A_k| * g_k / sum over positions of |A_k|
    relu(sum over channels k of w_k * A_k)

with g = d logit / d A: Grad-CAM with the mean gradient weighted by the activation, so that the
gradient at positions without the feature does not count. Ruigang Fu et al.: Axiom-based Grad-CAM,
2020, arXiv 2008.02312. For rectified maps, as in the paper, |A| = A and the map without `relu`
conserves the sum of A * g. For maps of both signs, as in transformers, the paper would divide by
sums near zero; with |A|, w_k remains a mean of gradients, but conservation is lost.

It misleads like Grad-CAM: with one weight per channel, every position with the feature is bright,
even if the score does not use it; `hires-cam` weights each position by its own gradient.

    seewhy.explain(model, "dog.jpg", "xgrad-cam")
"""

from dataclasses import dataclass

import torch

from seewhy.attribution.methods.gradient_cams import GradientCAM, Maps


@dataclass(frozen=True)
class XGradCAM(GradientCAM):
    """Feature maps weighted by their mean gradient at active positions.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    """

    name = "xgrad-cam"
    question = "Where are the active features that raise the score?"
    source = "Fu et al. 2020, arXiv 2008.02312"

    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """Return w * A, with w the mean gradient weighted by the activation."""
        sizes = maps.abs()
        shares = sizes / sizes.sum((2, 3), keepdim=True)
        shares = torch.where(sizes > 0, shares, 0)  # an absent feature has no share
        return (shares * gradients).sum((2, 3), keepdim=True) * maps
