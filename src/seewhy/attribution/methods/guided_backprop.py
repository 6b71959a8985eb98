"""Guided backpropagation: which pixels support the class along positive gradients only?

Backpropagates the logit with R = relu(cotangent) * [x > 0] at every ReLU.
Jost Tobias Springenberg et al.: Striving for Simplicity, 2014, arXiv 1412.6806. The map is
sharp and hardly depends on the class (Adebayo et al. 2018, arXiv 1810.03292).

    seewhy.explain(model, "dog.jpg", "guided-backprop")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.rectified import Rectified
from seewhy.autodiff.rules import GUIDED


@dataclass(frozen=True)
class GuidedBackprop(Rectified):
    """Gradient along positive paths only; sharp, but hardly class-specific."""

    name = "guided-backprop"
    question = "Which pixels support the class along positive gradients only?"
    source = "Springenberg et al. 2014, arXiv 1412.6806"
    rules = GUIDED
