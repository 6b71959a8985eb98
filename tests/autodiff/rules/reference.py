"""LRP's linear rules, slowly: one output after the other, over the full matrix of the operation.

For an affine operation z_j = sum_i w_ji x_i + b_j of flattened tensors, a rule says how the
relevance R_j of output j is shared out. Every function takes W [outputs, inputs], b [outputs],
x [inputs] and R [outputs], and returns (the relevance of the inputs, what the biases kept).
"""

from collections.abc import Callable

import torch
from torch import Tensor

Shared = tuple[Tensor, float]


def matrix(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """W and b of an affine function of [batch, ...], read off the unit vectors."""
    shape = x.shape[1:]
    units = torch.eye(shape.numel(), dtype=x.dtype).view(-1, *shape)
    bias = function(torch.zeros(1, *shape, dtype=x.dtype)).flatten()
    return (function(units).flatten(1) - bias).T, bias


def away_from_zero(value: Tensor, epsilon: float) -> Tensor:
    return value + epsilon if value >= 0 else value - epsilon


def epsilon(W: Tensor, b: Tensor, x: Tensor, R: Tensor, eps: float) -> Shared:
    """R_i = sum_j w_ji x_i / (z_j + eps sign z_j) R_j."""
    inputs, kept = torch.zeros_like(x), 0.0
    for j in range(len(R)):
        contributions = W[j] * x
        share = R[j] / away_from_zero(contributions.sum() + b[j], eps)
        inputs += contributions * share
        kept += float(b[j] * share)
    return inputs, kept


def gamma(W: Tensor, b: Tensor, x: Tensor, R: Tensor, eps: float, gamma: float) -> Shared:
    """As epsilon, with contributions of the sign of z_j counted 1 + gamma times."""
    inputs, kept = torch.zeros_like(x), 0.0
    for j in range(len(R)):
        contributions, bias = W[j] * x, b[j]
        sign = 1 if contributions.sum() + bias > 0 else -1
        contributions = contributions + gamma * sign * (sign * contributions).clamp(min=0)
        bias = bias + gamma * sign * (sign * bias).clamp(min=0)
        share = R[j] / away_from_zero(contributions.sum() + bias, eps)
        inputs += contributions * share
        kept += float(bias * share)
    return inputs, kept


def z_plus(W: Tensor, b: Tensor, x: Tensor, R: Tensor, eps: float) -> Shared:
    """In proportion to (w_ji x_i)+; where there is no such contribution, as epsilon."""
    inputs, kept = torch.zeros_like(x), 0.0
    for j in range(len(R)):
        contributions, bias = W[j] * x, b[j]
        if bool((contributions > 0).any()) or bias > 0:
            contributions, bias = contributions.clamp(min=0), bias.clamp(min=0)
        share = R[j] / away_from_zero(contributions.sum() + bias, eps)
        inputs += contributions * share
        kept += float(bias * share)
    return inputs, kept


def alpha_beta(
    W: Tensor, b: Tensor, x: Tensor, R: Tensor, eps: float, alpha: float, beta: float
) -> Shared:
    """alpha in proportion to (w_ji x_i)+, minus beta to (w_ji x_i)-; one sign alone gets all."""
    inputs, kept = torch.zeros_like(x), 0.0
    for j in range(len(R)):
        terms = torch.cat([W[j] * x, b[j, None]])
        positive, negative = terms.clamp(min=0), terms.clamp(max=0)
        up, down = alpha, beta
        if not bool(positive.any()):
            up, down = 0.0, beta - alpha
        elif not bool(negative.any()):
            up, down = alpha - beta, 0.0
        shares = up * positive / away_from_zero(positive.sum(), eps)
        shares -= down * negative / away_from_zero(negative.sum(), eps)
        inputs += shares[:-1] * R[j]
        kept += float(shares[-1] * R[j])
    return inputs, kept


def w_square(W: Tensor, b: Tensor, x: Tensor, R: Tensor, eps: float) -> Shared:
    """In proportion to w_ji^2."""
    inputs = torch.zeros_like(x)
    for j in range(len(R)):
        inputs += W[j] ** 2 * R[j] / away_from_zero((W[j] ** 2).sum(), eps)
    return inputs, 0.0


def flat(W: Tensor, b: Tensor, x: Tensor, R: Tensor, eps: float) -> Shared:
    """Evenly over the inputs that output j reads."""
    inputs = torch.zeros_like(x)
    for j in range(len(R)):
        reads = (W[j] != 0).to(x.dtype)
        inputs += reads * R[j] / away_from_zero(reads.sum(), eps)
    return inputs, 0.0


def z_box(
    W: Tensor, b: Tensor, x: Tensor, R: Tensor, eps: float, low: Tensor, high: Tensor
) -> Shared:
    """In proportion to w_ji x_i - w_ji+ low_i - w_ji- high_i."""
    inputs = torch.zeros_like(x)
    for j in range(len(R)):
        terms = W[j] * x - W[j].clamp(min=0) * low - W[j].clamp(max=0) * high
        inputs += terms * R[j] / away_from_zero(terms.sum(), eps)
    return inputs, 0.0
