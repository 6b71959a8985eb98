"""KernelSHAP: what is each segment's fair share of the score?

    minimise over v   sum over coalitions z of k(z) (f(z) - f(nothing) - <v, z>)^2
    under             sum of v = f(everything) - f(nothing)

where z says which segments of the picture are shown, and k is the Shapley kernel
k(z) = (M - 1) / (C(M, s) s (M - s)) for s of M segments. Over all coalitions the solution is the
Shapley value: the mean, over all orders in which the segments may come, of what each adds. Scott
Lundberg, Su-In Lee: A unified approach to interpreting model predictions, 2017, arXiv 1705.07874.

Sizes of coalitions, from the smallest and largest on, are run whole while `samples` allows; from
the others coalitions are drawn by the kernel, each with its complement. With 2^M samples or more
the values are exact. Where samples are too few to tell segments apart, these share equally.

It misleads as all that hides parts of the picture does: it is a fair share of what the network
makes of pictures that it was not trained on.

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
LEAST_TOLD = 1e-2


@dataclass(frozen=True)
class KernelSHAP(Surrogate):
    """The Shapley value of each segment.

    - `samples`: coalitions of segments that are run. - `segments`: about how many.
    - `baseline`: what stands in for what is hidden, a baseline. - `score`: logit or probability.
    """

    name = "kernel-shap"
    question = "What is each segment's fair share of the score?"
    source = "Lundberg, Lee 2017, arXiv 1705.07874"

    score: str = "logit"

    def design(self, segments: int, seed: int) -> Design:
        """Nothing, everything, and coalitions between; the first two count as constraints."""
        ends = torch.tensor([[False], [True]]).expand(2, segments)
        coalitions, weights = _coalitions(segments, self.samples - 2, seed)
        return Design(torch.cat([ends, coalitions]), torch.cat([torch.zeros(2).double(), weights]))

    def fit(self, design: Design, scores: Float[Tensor, "questions samples"]) -> Fit:
        """Equal shares, and what the coalitions say about differences between segments."""
        z, w = design.shown[2:].double(), design.weights[2:]
        nothing, everything = scores[:, :1], scores[:, 1:2]
        segments = z.shape[1]
        rise = everything - nothing
        shares = z.mean(1)
        gains = scores[:, 2:] - nothing - rise * shares
        # Without the mean, coefficients of least norm add up to zero, and the sum stays `rise`.
        different = w.sqrt()[:, None] * (z - shares[:, None])
        solve = torch.linalg.pinv(different, rtol=LEAST_TOLD)
        values = rise / segments + gains * w.sqrt() @ solve.T
        return Fit(
            values,
            explained(scores[:, 2:], nothing + values @ z.T, w),
            ((values.sum(1) - rise[:, 0]).abs() / rise[:, 0].abs().clamp_min(1e-12)),
        )


def _coalitions(
    segments: int, count: int, seed: int
) -> tuple[Bool[Tensor, "coalitions segments"], Float[Tensor, " coalitions"]]:
    """At most `count` coalitions, neither empty nor full, and what each weighs."""
    sizes = range(1, segments // 2 + 1)  # each with the complements
    masses = [(2 - (2 * s == segments)) * (segments - 1) / (s * (segments - s)) for s in sizes]
    rows, weights = [torch.zeros(0, segments, dtype=torch.bool)], [torch.zeros(0).double()]
    for i, size in enumerate(sizes):
        number = (2 - (2 * size == segments)) * math.comb(segments, size)
        if count * masses[i] < number * sum(masses[i:]) * (1 - 1e-9):
            pairs = count // 2
            drawn = _drawn(segments, sizes[i:], masses[i:], pairs, seed)
            rows += [drawn, ~drawn]
            weights.append(_each(sum(masses[i:]) / max(1, 2 * pairs), 2 * pairs))
            break
        whole = _of_size(segments, size)
        rows += [whole] if 2 * size == segments else [whole, ~whole]
        weights.append(_each(masses[i] / number, number))
        count -= number
    return torch.cat(rows), torch.cat(weights)


def _each(weight: float, count: int) -> Float[Tensor, " coalitions"]:
    return torch.full((count,), weight, dtype=torch.float64)


def _of_size(segments: int, size: int) -> Bool[Tensor, "coalitions segments"]:
    """All coalitions of this size."""
    members = torch.tensor(list(combinations(range(segments), size)))
    return torch.zeros(len(members), segments, dtype=torch.bool).scatter(1, members, True)


def _drawn(
    segments: int, sizes: range, masses: list[float], count: int, seed: int
) -> Bool[Tensor, "coalitions segments"]:
    """Coalitions of these sizes, drawn in proportion to the masses; the n-th of seed and n."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, 1 + segments, generator=generator, dtype=torch.float64)
    edges = torch.tensor(masses, dtype=torch.float64).cumsum(0)
    size = sizes[0] + torch.searchsorted(edges, uniform[:, 0] * edges[-1], right=True)
    return uniform[:, 1:].argsort(1).argsort(1) < size.clamp(max=sizes[-1])[:, None]
