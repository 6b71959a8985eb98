"""Excitation backpropagation: passes probability from winning neurons to those that excite them.

    linear       p_x = sum of p (w x)+ / (sum of (w x)+)    for x >= 0: x * W+^T (p / (W+ x))
    contrast     the same minus the same with -W    in the linear operations nearest to the score
    sum a + b    "proportional": p_a = p a+ / (a+ + b+)
                 "ignore-skip": p_a = p for the residual branch, 0 for the skip connection
    norms        p_x = p; a batch normalisation is folded into the convolution before it
    constants    biases and added constants receive nothing

Probability is represented as p = x * g, a tensor times its cotangent. The plain gradient then
passes it through rectifiers and max pooling, and distributes it proportionally in average pooling.
The probability of a neuron that nothing excites (W+ x = 0) is lost.

A sum is a linear operation with weights of one: a negative term inhibits, so the other term gets
everything. If no term is negative, this is p a / (a + b). The skip connection is the term with
fewer linear operations before it; if both have equally many, the sum is distributed proportionally.
The residual branch gets p whatever its sign, because a convolution distributes by its inputs, not
by its output.

Some networks end in one map per class, which is then averaged. There the contrastive signal
distributes its probability over all positions where the class has some, in proportion to the
excitation at each; computed per position, both signals would cancel in the sum over channels.

Zhang et al. 2016, arXiv 1608.00507; "ignore-skip" follows the authors' Caffe implementation.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.operations.norms import affine
from seewhy.autodiff.rules.base import Rule, Rules
from seewhy.autodiff.rules.composites import always, composite
from seewhy.autodiff.rules.linear import for_linear, is_none, positive_part
from seewhy.autodiff.rules.others import RELEVANCE, Pulled

Skip = Literal["proportional", "ignore-skip"]


def excite() -> Rule:
    """Distribute probability in proportion to positive contributions."""
    return for_linear(_excited)


def contrast() -> Rule:
    """Subtract the excitation for the negated weights from that for the weights; sums to zero."""

    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        return _excited(op, cotangent) - _excited_opposite(op, cotangent)

    return for_linear(rule)


def _excited(op: Linear, cotangent: Tensor) -> Tensor:
    """Compute W+^T (p / (W+ x)), as a cotangent."""
    excitation, share = _excitation(op)
    return share(_divided(op.z * cotangent, excitation))


def _excited_opposite(op: Linear, cotangent: Tensor) -> Tensor:
    """Compute W-^T (sum of p / sum of (W- x)), W- = (-W)+, summed over positions with p != 0."""
    p = op.z * cotangent
    excitation, share = _excitation(op, sign=-1)
    active = p != 0
    spatial_axes = [axis for axis in range(1, p.ndim) if axis != op.channel_axis % p.ndim]
    if spatial_axes:
        p, excitation = (v.sum(spatial_axes, keepdim=True) for v in (p, excitation * active))
    return share(active * _divided(p, excitation))


def _excitation(op: Linear, sign: int = 1) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the sum of (w x)+, zero if only rounding, and its transpose; (-w x)+ if sign is -1."""
    excitation, share = positive_part(op, sign)
    return torch.where(is_none(excitation, op.z), 0, excitation), share


def residual_sum(policy: Skip) -> Rule:
    """Return the rule for a sum of two terms that both depend on the picture."""

    def rule(op: Operation, cotangent: Tensor) -> Pulled:
        a, b = op.x
        terms = (
            op.function.pure(a, torch.zeros_like(b), **op.arguments),
            op.function.pure(torch.zeros_like(a), b, **op.arguments),
        )
        p = op.y * cotangent
        if policy == "ignore-skip" and op.depths[0] != op.depths[1]:
            cotangents = [(depth == max(op.depths)) * _divided(p, term)
                          for depth, term in zip(op.depths, terms, strict=True)]  # fmt: skip
        else:
            excitation = terms[0].clamp(min=0) + terms[1].clamp(min=0)
            cotangents = [(term > 0) * _divided(p, excitation) for term in terms]
        return tuple(op.gradient(g)[i] for i, g in enumerate(cotangents))

    return rule


def unchanged(op: Operation, cotangent: Tensor) -> Pulled:
    """Pass p to the input unchanged; by the gradient if the input is only part of the output."""
    (x, *others), y = op.x, op.y
    if others or x.shape != y.shape:
        return op.gradient(cotangent)
    return (_divided(y * cotangent, x),)


def batch_norm(op: Operation, cotangent: Tensor) -> Pulled:
    """Pass the cotangent to the preceding linear operation, which includes it; else p unchanged."""
    if op.makers:
        return RELEVANCE["batch norm"](op, cotangent)
    (x,) = op.x
    scale, shift = (v.to(x).view(-1, *[1] * (x.ndim - 2)) for v in affine(op.arguments))
    return (_divided((scale * x + shift) * cotangent, x),)


def _divided(p: Tensor, by: Tensor) -> Tensor:
    """Divide p by `by`, with zero where `by` is zero."""
    return torch.where(by == 0, 0, p / by)


def next_to_score(operation: Linear) -> bool:
    """Return whether no other linear operation lies between this one and the explained score."""
    return operation in operation.ledger.last


OTHERS = {
    **RELEVANCE,
    "relu": Operation.gradient,  # recorded so that a method can check whether there are any
    "batch norm": batch_norm,
    "norm": unchanged,
    "shift": unchanged,
}


@cache
def excitation(skip: Skip) -> Rules:
    """Use the excitation rule for every linear operation."""
    others = {**OTHERS, "sum": residual_sum(skip)}
    return composite("excitation", [(always, excite())], others)


@cache
def contrastive_excitation(skip: Skip) -> Rules:
    """Use the contrast rule next to the score, and the excitation rule in deeper layers."""
    others = {**OTHERS, "sum": residual_sum(skip)}
    choices = [(next_to_score, contrast()), (always, excite())]
    return composite("contrastive-excitation", choices, others)
