"""LIME: which segments support the prediction, in a local linear model of the network?

    minimise over c and v   sum over n of w_n (f_n - c - <v, z_n>)^2 + ridge * |v|^2

where z_n is the set of visible segments (each with probability 1/2; all of them in the first
sample), f_n is the score of that picture, and w_n = exp(-d_n^2 / (2 width^2)) with the cosine
distance d_n of z_n from all ones. Marco Ribeiro, Sameer Singh, Carlos Guestrin: "Why should I trust
you?", 2016, arXiv 1602.04938; kernel, width, samples and ridge are those of the authors' code, the
segments are SLIC superpixels. The map is v.

A note reports how much of the variance of the scores the linear model explains: if it is small, the
map explains little either. LIME also misleads where masked pictures are unlike the training data.

    seewhy.explain(model, "dog.jpg", "lime", samples=2000, segments=80)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import check
from seewhy.attribution.methods.surrogate import Design, Fit, Surrogate, explained

NARROWEST, WIDEST = 1e-3, 1e3  # widths at which the weights of the samples are still numbers


@dataclass(frozen=True)
class LIME(Surrogate):
    """The coefficients of a linear model whose inputs are the visible segments.

    - `samples`: pictures with some segments hidden. - `segments`: their approximate number.
    - `baseline`: the baseline that replaces hidden segments. - `score`: probability or logit.
    - `width`: kernel width, in cosine distance. - `ridge`: the penalty on squared coefficients.
    """

    name = "lime"
    question = "Which segments support the prediction in a local linear model?"
    source = "Ribeiro et al. 2016, arXiv 1602.04938"

    width: float = 0.25
    ridge: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            NARROWEST <= self.width <= WIDEST,
            f"{self.name}: width must be from {NARROWEST} to {WIDEST}, not {self.width}",
        )
        check(self.ridge > 0, f"{self.name}: ridge must be positive, not {self.ridge}")

    def design(self, segments: int, seed: int) -> Design:
        """Show each segment with probability 1/2; in the first sample all of them."""
        generator = torch.Generator().manual_seed(seed)
        shown = torch.rand(self.samples, segments, generator=generator) < 0.5
        shown[0] = True
        cosine = (shown.double().mean(1)).sqrt()  # <z, 1> / (|z| |1|)
        return Design(shown, (-((1 - cosine) ** 2) / (2 * self.width**2)).exp())

    def fit(self, design: Design, scores: Float[Tensor, "questions samples"]) -> Fit:
        """Return the weighted ridge regression; the constant is not penalised."""
        z, w = design.shown.double(), design.weights
        z = z - w @ z / w.sum()
        mean = (scores @ w / w.sum())[:, None]
        normal = z.T @ (w[:, None] * z) + self.ridge * torch.eye(z.shape[1], dtype=z.dtype)
        coefficients = torch.linalg.solve(normal, z.T @ (w * (scores - mean)).T).T
        return Fit(coefficients, explained(scores, mean + coefficients @ z.T, w))
