"""Conclusions about one picture, drawn only from what was measured on it."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from jaxtyping import Bool
from torch import Tensor

from seewhy.attribution.explanation import Explanation
from seewhy.attribution.explanation_text import constants_keep_most, has_probability
from seewhy.show.text import percent

TOP = 0.1  # fraction of the map that is compared; random maps have a tenth of it in common
ALIKE, APART = 0.5, 0.25  # methods agree from the first mean overlap, and differ up to the second
MISSING = 0.05  # fraction of the score; smaller residuals are rounding or a finite number of steps


def conclusions(explanations: Sequence[Explanation], index: int) -> list[str]:
    """Return sentences on the model's certainty, the methods' agreement and large residuals."""
    return [
        sentence
        for sentence in (
            _certainty(explanations[0], index),
            _agreement(explanations, index),
            _shortfall(explanations, index),
            _kept_by_constants(explanations, index),
        )
        if sentence
    ]


def shared_top(explanations: Sequence[Explanation], index: int) -> float | None:
    """Return the overlap of the strongest tenths of two maps, averaged over pairs of methods.

    None if fewer than two maps are finite and not flat.
    """
    tops = [top for e in explanations if (top := _top(e, index)) is not None]
    if len(tops) < 2:
        return None
    overlaps = [float((a & b).sum() / a.sum()) for a, b in combinations(tops, 2)]
    return sum(overlaps) / len(overlaps)


def _top(explanation: Explanation, index: int) -> Bool[Tensor, " cells"] | None:
    """Return a mask of the strongest tenth of a map; None if it is flat or has NaN or infinity."""
    values = explanation.heatmap[index].detach().cpu().flatten()
    if not values.isfinite().all() or values.min() == values.max():
        return None
    strongest = values.topk(max(1, round(TOP * len(values)))).indices
    return torch.zeros(len(values), dtype=torch.bool).index_fill(0, strongest, True)


def _certainty(explanation: Explanation, index: int) -> str:
    if not has_probability(explanation, index) or explanation.logits.shape[1] < 2:
        return ""
    (first, p), (second, q) = explanation.top(2)[index]
    if p - q < 0.2:
        return f"The model is undecided between {first} ({p:.2f}) and {second} ({q:.2f})."
    target = explanation.target_names[index]
    if target == first:
        return f"The model predicts {first} ({p:.2f}), well ahead of {second} ({q:.2f})."
    return f"The model predicts {first} ({p:.2f}), but the maps explain {target}."


def _agreement(explanations: Sequence[Explanation], index: int) -> str:
    overlap = shared_top(explanations, index)
    if overlap is None:
        return ""
    measured = (
        f"the strongest tenths of two maps overlap by {percent(overlap)} on average "
        "(10 % by chance)"
    )
    if overlap >= ALIKE:
        return f"The methods agree on the location: {measured}."
    if overlap <= APART:
        return f"The methods highlight different locations: {measured}. Do not trust a single map."
    return f"The methods agree in part: {measured}. Trust what several of them show."


def _shortfall(explanations: Sequence[Explanation], index: int) -> str:
    missing = {
        e.method: abs(float(e.residual[index]))
        for e in explanations
        if e.residual is not None and not abs(float(e.residual[index])) <= MISSING
    }
    if not missing:
        return ""
    return (
        "The values of these maps should add up to the score but do not; use them only as a "
        f"ranking. Missing: {_listed(missing)}."
    )


def _kept_by_constants(explanations: Sequence[Explanation], index: int) -> str:
    kept = {
        e.method: float(e.constants[index])
        for e in explanations
        if e.constants is not None and constants_keep_most(e, index)
    }
    if not kept:
        return ""
    return (
        "Biases keep most of the score that these methods share out, so that the maps explain "
        f"little of it: {_listed(kept)}."
    )


def _listed(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({percent(share)})" for name, share in shares.items())
