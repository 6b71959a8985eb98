"""Relevance for what was read, none for biases: LRP with biases left out of the denominators.

    z = W x + b:    W^T (R / (W x + eps))    with R = z * g, and likewise in the other rules

The relevance that a bias would keep goes to the inputs, in proportion to their contributions. The
biases are those of convolutions, dense layers and batch normalisations. Outputs to which no input
contributes leave their relevance with the bias.

zennit's `zero_params="bias"`: Anders et al. 2021, arXiv 2106.13200.
"""

from functools import cache

from torch import Tensor

from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.rules.base import Rules
from seewhy.autodiff.rules.others import Pulled, proportional


@cache
def without_biases(rules: Rules) -> Rules:
    """Return the same rules, with no relevance for biases."""

    def linear(operation: Operation, cotangent: Tensor) -> Pulled:
        assert isinstance(operation, Linear)
        operation.ignores_bias = True
        try:
            return rules.for_kind("linear")(operation, cotangent)
        finally:
            operation.ignores_bias = False

    def batch_norm(operation: Operation, cotangent: Tensor) -> Pulled:
        if operation.makers:  # it is part of a linear operation
            return rules.for_kind("batch norm")(operation, cotangent)
        return proportional(operation, cotangent)

    by_kind = {**rules.by_kind, "linear": linear, "batch norm": batch_norm}
    return Rules(f"{rules.name} without biases", by_kind, rules.reads_input)
