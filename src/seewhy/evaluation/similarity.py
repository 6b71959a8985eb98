"""How alike two maps are, whatever their scale."""

import torch
from jaxtyping import Float
from torch import Tensor


def rank_correlation(one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"]) -> float:
    """Spearman's rank correlation of two maps, in [-1, 1]; equal values share their mean rank.

    NaN where a map is the same everywhere or not finite: it has no order to compare.
    """
    ranks = torch.stack([_ranks(one), _ranks(other)])
    ranks = ranks - ranks.mean(1, keepdim=True)
    spread = ranks.norm(dim=1).prod()
    finite = bool(one.isfinite().all() and other.isfinite().all())
    return float((ranks[0] * ranks[1]).sum() / spread) if finite and spread > 0 else float("nan")


def top_overlap(
    one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"], share: float = 0.05
) -> float:
    """How many of the strongest places two maps have in common, as a share of the larger set.

    The strongest are the `share` of all places with the largest values, of those above zero: a
    place without evidence is not one of the strongest. NaN where a map has none.
    """
    a, b = _strongest(one, share), _strongest(other, share)
    larger = max(int(a.sum()), int(b.sum()))
    both = bool(a.any() and b.any())
    return int((a & b).sum()) / larger if both else float("nan")


def _ranks(values: Tensor) -> Float[Tensor, " places"]:
    """From 0, in ascending order; equal values share the mean of their ranks."""
    _, group, sizes = values.flatten().double().unique(return_inverse=True, return_counts=True)
    before = sizes.cumsum(0) - sizes
    return (before + (sizes - 1) / 2)[group].double()


def _strongest(values: Tensor, share: float) -> Tensor:
    flat = values.flatten()
    count = max(1, round(share * len(flat)))
    return (flat >= flat.topk(count).values[-1]) & (flat > 0)
