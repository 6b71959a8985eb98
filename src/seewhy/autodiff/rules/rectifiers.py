"""Deconvnet and guided backpropagation: two modified backward rules for rectifiers.

For y = relu(x) and the cotangent g of y:

    gradient    g * [x > 0]
    deconvnet   g * [g > 0]               Zeiler and Fergus 2013, arXiv 1311.2901
    guided      g * [g > 0] * [x > 0]     Springenberg et al. 2014, arXiv 1412.6806
"""

from torch import Tensor

from seewhy.autodiff.operations import RECTIFIER_KINDS, Operation
from seewhy.autodiff.rules.base import Rules


def deconvnet(operation: Operation, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    """Rectify the cotangent, regardless of where the input was positive."""
    return (cotangent.clamp(min=0),)


def guided(operation: Operation, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    """Rectify the cotangent, then apply the ordinary gradient."""
    return operation.gradient(cotangent.clamp(min=0))


DECONVNET = Rules("deconvnet", dict.fromkeys(RECTIFIER_KINDS, deconvnet))
GUIDED = Rules("guided", dict.fromkeys(RECTIFIER_KINDS, guided))
