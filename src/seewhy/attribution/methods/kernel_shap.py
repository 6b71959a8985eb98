"""KernelSHAP: what is each segment's fair share of the score?

    minimise over v   sum over coalitions z of k(z) (f(z) - f(empty) - <v, z>)^2
    subject to        sum of v = f(full) - f(empty)

where z is the set of visible segments, and k is the Shapley kernel
k(z) = (M - 1) / (C(M, s) s (M - s)) for s of M segments. Over all coalitions, the solution is the
Shapley value: the mean increase of the score when a segment is added, over all orders of segments.
Scott Lundberg, Su-In Lee: A unified approach to interpreting model predictions, 2017, arXiv
1705.07874.

Coalition sizes are enumerated completely, from the smallest and largest inwards, as far as
`samples` allows; for the other sizes, coalitions are drawn from the kernel, each with its
complement. With 2^M samples or more, the values are exact. Segments that the samples do not
distinguish share equally.

It misleads like all methods that hide parts of the picture: the values are fair shares of scores of
pictures that are unlike the training data.

    seewhy.explain(model, "dog.jpg", "kernel-shap", segments=10, samples=1024)   # exact
"""

import math
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seewhy.attribution.methods.surrogate import Design, Fit, Surrogate, explained

# Singular values below this fraction of the largest are discarded.
SINGULAR_CUTOFF = 1e-2


@dataclass(frozen=True)
class KernelSHAP(Surrogate):
    """The Shapley value of each segment.

    - `samples`: coalitions of segments that are scored. - `segments`: their approximate number.
    - `baseline`: the baseline that replaces hidden segments. - `score`: logit or probability.
    """

    name = "kernel-shap"
    question = "What is each segment's fair share of the score?"
    source = "Lundberg, Lee 2017, arXiv 1705.07874"

    score: str = "logit"

    def design(self, segments: int, seed: int) -> Design:
        """Return the empty and the full coalition, which are constraints, and others."""
        ends = torch.tensor([[False], [True]]).expand(2, segments)
        coalitions, weights = _coalitions(segments, self.samples - 2, seed)
        return Design(torch.cat([ends, coalitions]), torch.cat([torch.zeros(2).double(), weights]))

    def fit(self, design: Design, scores: Float[Tensor, "questions samples"]) -> Fit:
        """Return equal shares plus the differences that the coalitions show between segments."""
        z, w = design.shown[2:].double(), design.weights[2:]
        empty, full = scores[:, :1], scores[:, 1:2]
        segments = z.shape[1]
        rise = full - empty
        shares = z.mean(1)
        gains = scores[:, 2:] - empty - rise * shares
        # With rows of mean zero, the minimum-norm solution adds up to zero; the sum stays `rise`.
        centred = w.sqrt()[:, None] * (z - shares[:, None])
        solve = torch.linalg.pinv(centred, rtol=SINGULAR_CUTOFF)
        values = rise / segments + gains * w.sqrt() @ solve.T
        return Fit(
            values,
            explained(scores[:, 2:], empty + values @ z.T, w),
            ((values.sum(1) - rise[:, 0]).abs() / rise[:, 0].abs().clamp_min(1e-12)),
        )


def _coalitions(
    segments: int, count: int, seed: int
) -> tuple[Bool[Tensor, "coalitions segments"], Float[Tensor, " coalitions"]]:
    """Return at most `count` coalitions, neither empty nor full, and their weights."""
    sizes = range(1, segments // 2 + 1)  # each includes the complements
    masses = [(2 - (2 * s == segments)) * (segments - 1) / (s * (segments - s)) for s in sizes]
    rows, weights = [torch.zeros(0, segments, dtype=torch.bool)], [torch.zeros(0).double()]
    for i, size in enumerate(sizes):
        number = (2 - (2 * size == segments)) * math.comb(segments, size)
        if count * masses[i] < number * sum(masses[i:]) * (1 - 1e-9):
            pairs = count // 2
            drawn = _draw(segments, sizes[i:], masses[i:], pairs, seed)
            rows += [drawn, ~drawn]
            weights.append(_equal(sum(masses[i:]) / max(1, 2 * pairs), 2 * pairs))
            break
        coalitions = _of_size(segments, size)
        rows += [coalitions] if 2 * size == segments else [coalitions, ~coalitions]
        weights.append(_equal(masses[i] / number, number))
        count -= number
    return torch.cat(rows), torch.cat(weights)


def _equal(weight: float, count: int) -> Float[Tensor, " coalitions"]:
    return torch.full((count,), weight, dtype=torch.float64)


def _of_size(segments: int, size: int) -> Bool[Tensor, "coalitions segments"]:
    """Return all coalitions of this size."""
    members = torch.tensor(list(combinations(range(segments), size)))
    return torch.zeros(len(members), segments, dtype=torch.bool).scatter(1, members, True)


def _draw(
    segments: int, sizes: range, masses: list[float], count: int, seed: int
) -> Bool[Tensor, "coalitions segments"]:
    """Draw coalitions, sizes in proportion to `masses`; the n-th depends on seed and n only."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, 1 + segments, generator=generator, dtype=torch.float64)
    edges = torch.tensor(masses, dtype=torch.float64).cumsum(0)
    size = sizes[0] + torch.searchsorted(edges, uniform[:, 0] * edges[-1], right=True)
    return uniform[:, 1:].argsort(1).argsort(1) < size.clamp(max=sizes[-1])[:, None]
