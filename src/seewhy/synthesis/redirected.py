"""The redirected gradient of a rectifier, for units that nothing in the first picture activates.

Where a rectifier would pass none of a picture's gradient, negative inputs get it too if it would
raise them. Rectifiers that pass some of it keep their own gradient.
Olah et al. 2017, doi 10.23915/distill.00007 (in the code of lucid).
"""

import torch
from torch import Tensor

from seewhy.autodiff.operations import Operation
from seewhy.autodiff.rules import Rules


def redirected(operation: Operation, cotangent: Tensor) -> tuple[Tensor]:
    """Return the gradient, or where that is zero, the cotangent that raises negative inputs.

    The cotangent is that of a loss: where it is positive, a step makes the input smaller.
    """
    (x,) = operation.x
    own = torch.where(x > 0, cotangent, 0)
    passes = own.flatten(1).any(1).view(-1, *[1] * (x.ndim - 1))
    return (torch.where(passes, own, torch.where((x < 0) & (cotangent > 0), 0, cotangent)),)


REDIRECTED = Rules("redirected", {"relu": redirected}, reads_input=frozenset({"relu"}))
