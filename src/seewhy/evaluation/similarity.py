"""Measure the similarity of two maps, independent of their scale."""

import torch
from jaxtyping import Float
from torch import Tensor


def rank_correlation(one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"]) -> float:
    """Return Spearman's rank correlation of two maps, in [-1, 1]; ties share their mean rank.

    NaN if a map is constant or not finite, since its values then have no order.
    """
    ranks = torch.stack([_ranks(one), _ranks(other)])
    ranks = ranks - ranks.mean(1, keepdim=True)
    spread = ranks.norm(dim=1).prod()
    finite = bool(one.isfinite().all() and other.isfinite().all())
    return float((ranks[0] * ranks[1]).sum() / spread) if finite and spread > 0 else float("nan")


def top_overlap(
    one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"], share: float = 0.05
) -> float:
    """Return the share of the strongest positions that two maps have in common.

    The strongest positions are the `share` of all positions with the largest values, without those
    that are not positive. The overlap is relative to the larger of the two sets. NaN if a map has
    no positive values.
    """
    a, b = _strongest(one, share), _strongest(other, share)
    larger = max(int(a.sum()), int(b.sum()))
    comparable = bool(a.any() and b.any())
    return int((a & b).sum()) / larger if comparable else float("nan")


def _ranks(values: Tensor) -> Float[Tensor, " positions"]:
    """Return the ranks in ascending order, from 0; equal values share the mean of their ranks."""
    _, group, sizes = values.flatten().double().unique(return_inverse=True, return_counts=True)
    before = sizes.cumsum(0) - sizes
    return (before + (sizes - 1) / 2)[group].double()


def _strongest(values: Tensor, share: float) -> Tensor:
    flat = values.flatten()
    count = max(1, round(share * len(flat)))
    return (flat >= flat.topk(count).values[-1]) & (flat > 0)
