"""LIME: which segments speak for the answer, in a linear model of what the network does nearby?

    minimise over c and v   sum over n of w_n (f_n - c - <v, z_n>)^2 + ridge * |v|^2

where z_n says which segments of the picture are shown (each with probability 1/2; the first time
all of them), f_n is the score of that picture, and w_n = exp(-d_n^2 / (2 width^2)) with the cosine
distance d_n of z_n from all ones. Marco Ribeiro, Sameer Singh, Carlos Guestrin: "Why should I trust
you?", 2016, arXiv 1602.04938; kernel, width, samples and ridge are those of the authors' code, the
segments are SLIC superpixels. The map is v.

The note says how much of the scores the linear model explains: where that is little, neither does
the map. It misleads as well where the cut-outs are unlike what the network has learned from.

    seewhy.explain(model, "dog.jpg", "lime", samples=2000, segments=80)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import check
from seewhy.attribution.methods.surrogate import Design, Fit, Surrogate, explained


@dataclass(frozen=True)
class LIME(Surrogate):
    """The coefficients of a linear model of which segments are shown.

    - `samples`: pictures with some segments hidden. - `segments`: about how many.
    - `baseline`: what stands in for what is hidden, a baseline. - `score`: probability or logit.
    - `width`: of the kernel, in cosine distance. - `ridge`: how much large coefficients cost.
    """

    name = "lime"
    question = "Which segments does a linear model nearby count for the answer?"
    source = "Ribeiro et al. 2016, arXiv 1602.04938"

    width: float = 0.25
    ridge: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.width > 0, f"lime's kernel has a positive width, not {self.width}")
        check(self.ridge > 0, f"lime's ridge is positive, not {self.ridge}")

    def design(self, segments: int, seed: int) -> Design:
        """Each segment with probability 1/2; the first time all of them."""
        generator = torch.Generator().manual_seed(seed)
        shown = torch.rand(self.samples, segments, generator=generator) < 0.5
        shown[0] = True
        cosine = (shown.double().mean(1)).sqrt()  # <z, 1> / (|z| |1|)
        return Design(shown, (-((1 - cosine) ** 2) / (2 * self.width**2)).exp())

    def fit(self, design: Design, scores: Float[Tensor, "questions samples"]) -> Fit:
        """Weighted ridge regression; the constant costs nothing."""
        z, w = design.shown.double(), design.weights
        z = z - w @ z / w.sum()
        mean = (scores @ w / w.sum())[:, None]
        normal = z.T @ (w[:, None] * z) + self.ridge * torch.eye(z.shape[1], dtype=z.dtype)
        coefficients = torch.linalg.solve(normal, z.T @ (w * (scores - mean)).T).T
        return Fit(coefficients, explained(scores, mean + coefficients @ z.T, w))
