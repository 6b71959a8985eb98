"""Excitation backpropagation: probability handed from winning neurons to what excited them.

    linear       p_x = sum of p (w x)+ / (sum of (w x)+)    for x >= 0: x * W+^T (p / (W+ x))
    contrast     the same less the same with -W    in the linear operations nearest to the score
    sum a + b    "proportional": p_a = p a+ / (a+ + b+)
                 "ignore-skip": p_a = p for the branch, 0 for the skip connection
    norms        p_x = p; a batch normalisation counts as part of the convolution before it
    constants    biases and added constants take nothing

Probability travels as p = x * g, the tensor times its cotangent, so rectifiers and maximum pools
hand it on and average pools share it out in proportion when they are merely differentiated. What
nothing excites (W+ x = 0) loses its probability.

A sum is a linear operation with weights of one: a negative term inhibits, so the other gets all.
If no term is negative, that is p a / (a + b). The skip connection is the term with fewer linear
operations behind it, and with as many behind both the sum is shared out in proportion. The branch
gets p whatever its sign, because a convolution hands on by its inputs, not by its output.

Some networks end in a map of each class, which is then averaged. There the opposite of the class
shares out its probability over all places where the class has some, in proportion to what excites
it at each; place by place, class and opposite would cancel in the sum over channels.

Zhang et al. 2016, arXiv 1608.00507; "ignore-skip" is what the authors' Caffe program does.
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
    """Probability in proportion to positive contributions."""
    return for_linear(_excited)


def contrast() -> Rule:
    """What excites the output less what excites its opposite; in sum nothing."""

    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        return _excited(op, cotangent) - _excited_opposite(op, cotangent)

    return for_linear(rule)


def _excited(op: Linear, cotangent: Tensor) -> Tensor:
    """W+^T (p / (W+ x))."""
    excitation, share = _excitation(op)
    return share(_divided(op.z * cotangent, excitation))


def _excited_opposite(op: Linear, cotangent: Tensor) -> Tensor:
    """W-^T (sum of p / sum of (W- x)) with W- = (-W)+; the sums run over the places with a p."""
    p = op.z * cotangent
    excitation, share = _excitation(op, sign=-1)
    wins = p != 0
    places = [axis for axis in range(1, p.ndim) if axis != op.channel_axis % p.ndim]
    if places:
        p, excitation = (v.sum(places, keepdim=True) for v in (p, excitation * wins))
    return share(wins * _divided(p, excitation))


def _excitation(op: Linear, sign: int = 1) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The sum of (w x)+ without what is rounding, and the way back; of (-w x)+ if sign is -1."""
    excitation, share = positive_part(op, sign)
    return torch.where(is_none(excitation, op.z), 0, excitation), share


def residual_sum(policy: Skip) -> Rule:
    """The sum of two terms that depend on the picture."""

    def rule(op: Operation, cotangent: Tensor) -> Pulled:
        a, b = op.x
        terms = (
            op.function.pure(a, torch.zeros_like(b), **op.arguments),
            op.function.pure(torch.zeros_like(a), b, **op.arguments),
        )
        p = op.y * cotangent
        if policy == "ignore-skip" and op.depths[0] != op.depths[1]:
            of_each = [(depth == max(op.depths)) * _divided(p, term)
                       for depth, term in zip(op.depths, terms, strict=True)]  # fmt: skip
        else:
            excitation = terms[0].clamp(min=0) + terms[1].clamp(min=0)
            of_each = [(term > 0) * _divided(p, excitation) for term in terms]
        return tuple(op.gradient(one)[i] for i, one in enumerate(of_each))

    return rule


def unchanged(op: Operation, cotangent: Tensor) -> Pulled:
    """All of p to the one input; in proportion where it fills only a part of the output."""
    (x, *others), y = op.x, op.y
    if others or x.shape != y.shape:
        return op.gradient(cotangent)
    return (_divided(y * cotangent, x),)


def batch_norm(op: Operation, cotangent: Tensor) -> Pulled:
    """Left to the linear operation before it, as one with it; else p passes unchanged."""
    if op.makers:
        return RELEVANCE["batch norm"](op, cotangent)
    (x,) = op.x
    scale, shift = (v.to(x).view(-1, *[1] * (x.ndim - 2)) for v in affine(op.arguments))
    return (_divided((scale * x + shift) * cotangent, x),)


def _divided(p: Tensor, by: Tensor) -> Tensor:
    """p / by; nothing where that is zero."""
    return torch.where(by == 0, 0, p / by)


def next_to_score(operation: Linear) -> bool:
    """No other linear operation lies between this one and the explained score."""
    return operation in operation.ledger.last


OTHERS = {
    **RELEVANCE,
    "relu": Operation.gradient,  # watched so that a method can tell whether there are any
    "batch norm": batch_norm,
    "norm": unchanged,
    "shift": unchanged,
}


@cache
def excitation(skip: Skip) -> Rules:
    """Excitation everywhere."""
    others = {**OTHERS, "sum": residual_sum(skip)}
    return composite("excitation", [(always, excite())], others)


@cache
def contrastive_excitation(skip: Skip) -> Rules:
    """The contrast next to the score, excitation below."""
    others = {**OTHERS, "sum": residual_sum(skip)}
    choices = [(next_to_score, contrast()), (always, excite())]
    return composite("contrastive-excitation", choices, others)
