"""The full gradient: the plain gradient, and what each operation adds to its linear part.

    y = J x + b      for an operation y = f(x) with the Jacobian J at x
    score = sum of pixels * gradient + sum over all operations of b * g

with g the cotangent of y, which is the plain gradient. b is the bias of a convolution or dense
layer, and bias - mean * weight / std of a batch normalisation. Of a function that is not piecewise
linear it is y - J x, the constant of its tangent: -y for a product of two tensors, y for a
quotient. Rectifiers, sums, maximum pools and the like add nothing, so they have no rule.

Every b * g goes into the ledger in y's shape, so that a `Ledger` that draws can show where it lies.
"""

import torch
from torch import Tensor

from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.operations.norms import affine
from seewhy.autodiff.rules.base import Rule, Rules
from seewhy.autodiff.rules.others import Pulled, constant, relevance


def linear(operation: Operation, cotangent: Tensor) -> Pulled:
    """The bias of a convolution or dense layer."""
    assert isinstance(operation, Linear)
    if operation.bias is not None:
        operation.ledger.credit(operation.over_channels(operation.bias).to(cotangent) * cotangent)
    return operation.gradient(cotangent)


def batch_norm(operation: Operation, cotangent: Tensor) -> Pulled:
    """Bias - mean * weight / std."""
    _, shift = affine(operation.arguments)
    over_channels = shift.detach().to(cotangent).view(-1, *[1] * (cotangent.ndim - 2))
    operation.ledger.credit(over_channels * cotangent)
    return operation.gradient(cotangent)


def homogeneous(degree: int) -> Rule:
    """Functions with f(t x) = t^degree f(x), for which J x = degree * y."""

    def rule(operation: Operation, cotangent: Tensor) -> Pulled:
        operation.ledger.credit((1 - degree) * relevance(operation.y, cotangent))
        return operation.gradient(cotangent)

    return rule


def tangent(operation: Operation, cotangent: Tensor) -> Pulled:
    """y - J x, of functions that work on each place, or on places of the same shape.

    Where input and output have different shapes (a token that is put before others), only the sum
    is known, and not where it lies.
    """
    pulled = operation.gradient(cotangent)
    ledger = operation.ledger
    whole = relevance(operation.y, cotangent)
    pairs = zip(operation.x, pulled, strict=True)
    linear_parts = [relevance(x, p) for x, p in pairs if p is not None]
    if all(part.shape == whole.shape for part in linear_parts):
        ledger.credit(whole - sum(linear_parts, torch.zeros_like(whole)))
    else:
        sums = [ledger.per_picture(part) for part in linear_parts]
        ledger.credit((ledger.per_picture(whole) - sum(sums))[:, None])
    return pulled


FULL_GRADIENT = Rules(
    "the full gradient",
    {
        "linear": linear,
        "batch norm": batch_norm,
        "product": homogeneous(2),
        "variance": homogeneous(2),
        "quotient": homogeneous(0),
        "constant": constant,
        **dict.fromkeys(
            [
                "activation",
                "clipped relu",
                "elementwise",
                "norm",
                "softmax",
                "log softmax",
                "shift",
                "affine",
            ],
            tangent,
        ),
    },
)
