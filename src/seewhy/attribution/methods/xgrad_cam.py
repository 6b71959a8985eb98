"""XGrad-CAM: where are the features that raise the score, each with the gradient where it is?

    w_k = sum over places of |A_k| * g_k / sum over places of |A_k|
    relu(sum over channels k of w_k * A_k)

with g = d logit / d A: Grad-CAM whose mean gradient is weighted by the activation, so that a
gradient where the feature is absent does not count.
Ruigang Fu et al.: Axiom-based Grad-CAM, 2020, arXiv 2008.02312. For rectified maps, as in the
paper, |A| = A and the map without `relu` keeps the sum of A * g (conservation). Maps of both
signs, as in transformers, have sums near zero that the paper would divide by; |A| keeps w_k a
mean of gradients there, and conservation is lost.

It misleads like Grad-CAM: one weight a channel lights up every place where the feature is, also
those that the score does not use; `hires-cam` weighs each place by its own gradient.

    seewhy.explain(model, "dog.jpg", "xgrad-cam")
"""

from dataclasses import dataclass

import torch

from seewhy.attribution.methods.gradient_cams import GradientCAM, Maps


@dataclass(frozen=True)
class XGradCAM(GradientCAM):
    """Feature maps weighted by their gradient where they are active.

    - `layer`: whose maps; None: found, and reported. - `relu`: keep only evidence for the class.
    """

    name = "xgrad-cam"
    question = "Where are the features that raise the score where they are active?"
    source = "Fu et al. 2020, arXiv 2008.02312"

    def weighted(self, maps: Maps, gradients: Maps) -> Maps:
        """w * A, with w the mean gradient weighted by the activation."""
        sizes = maps.abs()
        shares = sizes / sizes.sum((2, 3), keepdim=True)
        shares = torch.where(sizes > 0, shares, 0)  # an absent feature has none
        return (shares * gradients).sum((2, 3), keepdim=True) * maps
