"""What may be concluded of one picture, from what was measured on it and from nothing else."""

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Bool
from torch import Tensor

from seewhy.attribution.explanation import Explanation
from seewhy.attribution.explanation_text import constants_keep_most, has_probability
from seewhy.show.text import percent

TOP = 0.1  # the share of the picture that is compared; two maps share a tenth of it by chance
ALIKE, APART = 0.5, 0.25  # mean shared part from which methods agree, up to which they do not
MISSING = 0.05  # of the score, in the sum of a map; less is rounding, or a finite number of steps


def conclusions(explanations: Sequence[Explanation], index: int) -> list[str]:
    """Sentences on how sure the model is, whether the methods agree, and what sums leave out."""
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
    """Of the strongest tenths of two maps the share in common, as a mean over pairs of methods.

    None where fewer than two methods found anything.
    """
    tops = [_top(e, index) for e in explanations]
    found = [top for top in tops if top is not None]
    if len(found) < 2:
        return None
    shares = [float((a & b).sum() / a.sum()) for a, b in combinations(found, 2)]
    return sum(shares) / len(shares)


def _top(explanation: Explanation, index: int) -> Bool[Tensor, " cells"] | None:
    """The strongest tenth of a map; None of one that is flat or holds values not finite."""
    values = explanation.heatmap[index].detach().cpu().flatten()
    if not values.isfinite().all() or values.min() == values.max():
        return None
    kept = values.topk(max(1, round(TOP * len(values)))).indices
    return torch.zeros(len(values), dtype=torch.bool).index_fill(0, kept, True)


def _certainty(explanation: Explanation, index: int) -> str:
    if not has_probability(explanation, index) or explanation.logits.shape[1] < 2:
        return ""
    (first, p), (second, q) = explanation.top(2)[index]
    if p - q < 0.2:
        return f"The model hesitates between {first} ({p:.2f}) and {second} ({q:.2f})."
    target = explanation.target_names[index]
    if target == first:
        return f"The model says {first} ({p:.2f}), well ahead of {second} ({q:.2f})."
    return f"The model says {first} ({p:.2f}); the maps explain {target}, which it does not choose."


def _agreement(explanations: Sequence[Explanation], index: int) -> str:
    share = shared_top(explanations, index)
    if share is None:
        return ""
    measured = f"two maps share {percent(share)} of their strongest tenth (by chance 10 %)"
    if share >= ALIKE:
        return f"The methods agree on the place: {measured}."
    if share <= APART:
        return f"The methods point to different places: {measured}. Do not trust a single map."
    return f"The methods agree in part: {measured}. Trust what several of them show."


def _shortfall(explanations: Sequence[Explanation], index: int) -> str:
    short = {
        e.method: abs(float(e.residual[index]))
        for e in explanations
        if e.residual is not None and not abs(float(e.residual[index])) <= MISSING
    }
    if not short:
        return ""
    listed = ", ".join(f"{name} ({percent(share)})" for name, share in short.items())
    return (
        "The values of these maps should add up to the score, and do not; use them as a ranking "
        f"only. Missing: {listed}."
    )


def _kept_by_constants(explanations: Sequence[Explanation], index: int) -> str:
    kept = {
        e.method: float(e.constants[index])
        for e in explanations
        if e.constants is not None and constants_keep_most(e, index)
    }
    if not kept:
        return ""
    listed = ", ".join(f"{name} ({percent(share)})" for name, share in kept.items())
    return (
        "Biases keep most of the score that these methods share out, so that the maps explain "
        f"little of it: {listed}."
    )
