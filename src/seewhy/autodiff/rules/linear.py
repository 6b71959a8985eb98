"""Layer-wise relevance propagation (LRP) through a linear operation z = W x + b.

Relevance is represented as R = x * g: a tensor times its cotangent g. With this representation the
plain gradient of linear operations without weights (sums, concatenation, pooling, up-sampling,
views) already distributes relevance proportionally, and LRP with epsilon = 0 is gradient times
input. A rule receives the cotangent of z and returns the cotangent of x:

    epsilon     W^T (R / (z + eps))                                   with R = z * g
    gamma       as epsilon with W + gamma W+ where z > 0, W + gamma W- where z < 0
    z+          positive contributions (w x)+ only
    alpha-beta  alpha times the positive contributions, minus beta times the negative
    w-square    R distributed by w^2;   flat: evenly;    z-box: w x - w+ low - w- high

Bach et al. 2015 (PLOS ONE 10:e0130140: epsilon, alpha-beta, flat); Montavon et al. 2017,
arXiv 1512.02479 (z+, w-square, z-box); Montavon et al. 2019 (LRP: an overview, gamma).
Denominators are moved away from zero by the stabiliser. The bias is part of z and absorbs its share
of relevance, which is recorded in the ledger (rules/biases.py leaves it out). A rule costs at most
one extra forward and two transposed operations (z-box, for the first layer, two and three), because
negative contributions are computed as total minus positive. In half precision that difference would
be mostly rounding error, so there both are computed separately.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.rules.base import Rule, stabilised

STABILISER = 1e-6

LinearRule = Callable[[Linear, Tensor], Tensor]


def epsilon(epsilon: float = STABILISER) -> Rule:
    """Distribute relevance in proportion to contributions; epsilon damps small outputs."""

    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        z = op.z
        s = z * cotangent / stabilised(op.total(z), epsilon)
        op.credit(op.bias, s)
        return op.transposed(s)

    return for_linear(rule)


def gamma(gamma: float = 0.25, stabiliser: float = STABILISER) -> Rule:
    """Weight contributions of the same sign as the output by 1 + gamma."""

    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        if not _nonnegative(op.input):
            return _gamma_of_any_input(op, cotangent, gamma, stabiliser)
        z, weight, bias = op.z, op.weight, op.bias
        boosted, transposed = op.with_weights(
            weight + gamma * weight.clamp(min=0), _boosted(bias, gamma, 1)
        )
        relevance = z * cotangent
        up = relevance * (z > 0) / stabilised(boosted, stabiliser)
        op.credit(_boosted(bias, gamma, 1), up)
        down = relevance * (z < 0)
        if not bool(down.any()):  # a rectifier follows
            return transposed(up)
        # W + gamma W- = (2 + gamma) W - (W + gamma W+), and likewise for the outputs.
        down = down / stabilised((2 + gamma) * op.total(z) - boosted, stabiliser)
        op.credit(_boosted(bias, gamma, -1), down)
        return transposed(up - down) + (2 + gamma) * op.transposed(down)

    return for_linear(rule)


def _gamma_of_any_input(op: Linear, cotangent: Tensor, gamma: float, stabiliser: float) -> Tensor:
    z, bias = op.z, op.bias
    total = op.total(z)
    positive, share_positive = positive_part(op)
    negative = total - _with_bias(op, positive, bias)
    with_bias = _with_bias(op, positive, _clamped(bias, 1))
    relevance = z * cotangent
    up = relevance * (z > 0) / stabilised(total + gamma * with_bias, stabiliser)
    down = (
        relevance
        * (z < 0)
        / stabilised(total + gamma * _with_bias(op, negative, _clamped(bias, -1)), stabiliser)
    )
    op.credit(_boosted(bias, gamma, 1), up)
    op.credit(_boosted(bias, gamma, -1), down)
    return op.transposed(up + (1 + gamma) * down) + gamma * share_positive(up - down)


def z_plus(stabiliser: float = STABILISER) -> Rule:
    """Distribute relevance in proportion to positive contributions, or to all if none is."""

    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        z, above = op.z, _clamped(op.bias, 1)
        total = op.total(z)
        positive, share = positive_part(op)
        positive = _with_bias(op, positive, above)
        relevance = z * cotangent
        s = relevance / (positive + stabiliser)
        if bool(torch.where(total < 0, cotangent, 0).any()):  # above 0, there is a positive one
            none = is_none(positive, total)
            if bool((none & (relevance != 0)).any()):
                s = torch.where(none, 0, s)
                rest = torch.where(none, relevance, 0) / stabilised(total, stabiliser)
                op.credit(above, s)
                op.credit(op.bias, rest)
                return share(s) + op.transposed(rest)
        op.credit(above, s)
        return share(s)

    return for_linear(rule)


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, stabiliser: float = STABILISER) -> Rule:
    """Distribute alpha R to positive contributions and -beta R to negative; alpha - beta = 1.

    Outputs that have contributions of one sign only distribute all relevance to those.
    """

    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        z, above, below = op.z, _clamped(op.bias, 1), _clamped(op.bias, -1)
        total = op.total(z)
        positive, negative, share = _parts(op, above, below)
        no_positive, no_negative = is_none(positive, total), is_none(negative, total)
        relevance = z * cotangent
        a = torch.where(no_positive, 0, torch.where(no_negative, alpha - beta, alpha))
        b = torch.where(no_negative, 0, torch.where(no_positive, beta - alpha, beta))
        up = a * relevance / stabilised(positive, stabiliser)
        down = b * relevance / stabilised(negative, stabiliser)
        op.credit(above, up)
        op.credit(below, -down)
        return share(up, -down)

    return for_linear(rule)


def w_square(stabiliser: float = STABILISER) -> Rule:
    """Distribute relevance in proportion to squared weights, regardless of the input."""
    return _regardless_of_input(torch.square, stabiliser)


def flat(stabiliser: float = STABILISER) -> Rule:
    """Distribute relevance evenly over all inputs that an output reads."""
    return _regardless_of_input(torch.ones_like, stabiliser)


def z_box(low: Tensor | float, high: Tensor | float, stabiliser: float = STABILISER) -> Rule:
    """Distribute relevance by w x - w+ low - w- high, for inputs between `low` and `high`.

    Both bounds are broadcast with the input.
    """

    def ends(op: Linear) -> tuple[Tensor, Tensor]:
        x = op.input
        lowest, highest = (torch.as_tensor(v).to(x).expand_as(x) for v in (low, high))
        return lowest, highest

    return _between(ends, stabiliser)


def pixel_box(low: float = 0.0, high: float = 1.0, stabiliser: float = STABILISER) -> Rule:
    """Apply the z-box rule with the input range that pixels between `low` and `high` produce.

    The operation must have a `prefix`, which accounts for normalisation, padding, resizing and
    similar operations before it.
    """

    def ends(op: Linear) -> tuple[Tensor, Tensor]:
        assert op.prefix is not None
        return op.prefix.box(low, high)

    return _between(ends, stabiliser)


def _between(ends: Callable[[Linear], tuple[Tensor, Tensor]], stabiliser: float) -> Rule:
    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        x, weight = op.input, op.weight
        low, high = ends(op)
        at_low, share_low = op.with_weights(weight.clamp(min=0), input=low)
        at_high, share_high = op.with_weights(weight.clamp(max=0), input=high)
        z = op.z
        total = _with_bias(op, op.total(z), op.bias, sign=-1) - at_low - at_high
        s = z * cotangent / stabilised(total, stabiliser)
        relevance = x * op.transposed(s) - low * share_low(s) - high * share_high(s)
        return _as_cotangent(op, relevance)

    return for_linear(rule)


def _regardless_of_input(of_weight: Callable[[Tensor], Tensor], stabiliser: float) -> Rule:
    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        share = of_weight(op.weight)
        _, transposed = op.with_weights(share)
        counted, _ = op.with_weights(share, input=torch.ones_like(op.input[:1]))
        return _as_cotangent(op, transposed(op.z * cotangent / stabilised(counted, stabiliser)))

    return for_linear(rule)


def for_linear(rule: LinearRule) -> Rule:
    """Turn a rule for linear operations (one input) into a rule for any operation."""

    def for_operation(operation: Operation, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        assert isinstance(operation, Linear)
        first, *more = (
            rule(operation, _of_inputs(operation, part))
            for part in operation.parts(cotangent, operation.ledger)
        )
        return (sum(more, first),)

    return for_operation


def _of_inputs(op: Linear, cotangent: Tensor) -> Tensor:
    """Return the cotangent, 0 where a bias that is ignored is all there is: it keeps its share."""
    if not op.ignores_bias:
        return cotangent
    z = op.z
    none = is_none(op.total(z), z)
    op.ledger.credit(torch.where(none, z * cotangent, 0))
    return torch.where(none, 0, cotangent)


def positive_part(op: Linear, sign: int = 1) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the sum of positive contributions (w x)+, and its transposed operation divided by x.

    With `sign` -1 the weight is negated: (-w x)+.
    """
    weight, x = op.weight if sign > 0 else -op.weight, op.input
    if _nonnegative(x):
        return op.with_weights(weight.clamp(min=0))
    if _is_coarse(op):
        of_positive, share_positive = op.with_weights(weight.clamp(min=0), input=x.clamp(min=0))
        of_negative, share_negative = op.with_weights(weight.clamp(max=0), input=x.clamp(max=0))
        return of_positive + of_negative, lambda s: torch.where(
            x > 0, share_positive(s), share_negative(s)
        )
    # |w| |x| = (w x)+ - (w x)-, and w x is their sum.
    absolute, transposed_absolute = op.with_weights(weight.abs(), input=x.abs())
    contributions = sign * _with_bias(op, op.total(op.z), op.bias, sign=-1)

    def share(s: Tensor) -> Tensor:
        return (sign * op.transposed(s) + x.sign() * transposed_absolute(s)) / 2

    return (contributions + absolute) / 2, share


def _parts(
    op: Linear, above: Tensor | None, below: Tensor | None
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Return the sums of positive and of negative contributions, each with its part of the bias.

    The third value is the transposed operation: it takes one tensor for the positive and one for
    the negative contributions.
    """
    positive, share_positive = positive_part(op)
    positive = _with_bias(op, positive, above)
    if _is_coarse(op):
        opposite, share_opposite = positive_part(op, sign=-1)
        negative = _with_bias(op, -opposite, below)
        return positive, negative, lambda up, down: share_positive(up) - share_opposite(down)
    return (
        positive,
        op.total(op.z) - positive,
        lambda up, down: share_positive(up - down) + op.transposed(down),
    )


def _is_coarse(op: Linear) -> bool:
    """Return whether the precision is half: differences of sums may be pure rounding error."""
    return op.y.dtype.itemsize < 4


def is_none(part: Tensor, whole: Tensor) -> Tensor:
    """Return a mask of outputs where a partial sum of contributions is zero up to rounding."""
    rounding = 16 * torch.finfo(part.dtype).eps if part.dtype.itemsize >= 4 else 0
    return part.abs() <= rounding * whole.abs()


def _nonnegative(x: Tensor) -> bool:
    return x.numel() == 0 or bool(x.amin() >= 0)


def _with_bias(op: Linear, values: Tensor, bias: Tensor | None, sign: int = 1) -> Tensor:
    return values if bias is None else values + sign * op.over_channels(bias)


def _clamped(bias: Tensor | None, sign: int) -> Tensor | None:
    return None if bias is None else sign * (sign * bias).clamp(min=0)


def _boosted(bias: Tensor | None, gamma: float, sign: int) -> Tensor | None:
    return None if bias is None else bias + gamma * sign * (sign * bias).clamp(min=0)


def _as_cotangent(op: Linear, relevance: Tensor) -> Tensor:
    """Convert relevance that does not vanish with x to a cotangent, by dividing by x.

    Operations with a `prefix` assign it directly to the pixels instead, so that zero pixels keep
    theirs. In deeper layers, inputs of zero cannot pass relevance on; it is credited to constants.
    """
    if op.prefix is not None:
        on_pixels, of_constants = op.prefix.on_pixels(relevance)
        op.ledger.arrive(on_pixels)
        op.ledger.credit(of_constants)
        return torch.zeros_like(relevance)
    zero = op.input == 0
    op.ledger.credit(torch.where(zero, relevance, 0))
    return torch.where(zero, 0, relevance / op.input)
