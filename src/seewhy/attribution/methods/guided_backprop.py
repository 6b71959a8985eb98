"""Guided backpropagation: which pixels speak for the class along paths that only ever add?

Pulls the logit back with R = relu(cotangent) * [x > 0] at every rectifier.
Jost Tobias Springenberg et al.: Striving for Simplicity, 2014, arXiv 1412.6806. The map is
crisp and hardly depends on the class (Adebayo et al. 2018, arXiv 1810.03292).

    seewhy.explain(model, "dog.jpg", "guided-backprop")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.rectified import Rectified
from seewhy.autodiff.rules import GUIDED


@dataclass(frozen=True)
class GuidedBackprop(Rectified):
    """Gradient along positive paths only; crisp, and hardly specific to the class."""

    name = "guided-backprop"
    question = "Which pixels speak for the class along paths that only ever add?"
    source = "Springenberg et al. 2014, arXiv 1412.6806"
    rules = GUIDED
