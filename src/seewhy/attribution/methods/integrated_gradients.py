"""Integrated gradients: how is the score's rise from a baseline distributed over pixels?

    (x - x0) * integral over a in [0, 1] of gradient(x0 + a (x - x0))

Mukund Sundararajan, Ankur Taly, Qiqi Yan: Axiomatic Attribution, 2017, arXiv 1703.01365.
The contributions sum to f(x) - f(x0) (completeness); the quadrature error is the residual. With
Gauss-Legendre nodes, 32 steps are as precise as a Riemann sum with several hundred.

    seewhy.explain(model, "dog.jpg", "integrated-gradients", baseline="blur", steps=64)
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.attribution.methods.gradient_sums import summed_gradient
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model
from seewhy.perturbation.baselines import baseline, check_baseline

ONE_RULE = 256  # nodes


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """The score's rise from a baseline, distributed over the pixels.

    - `steps`: quadrature nodes. - `baseline`: mean, black, grey, white, blur or noise.
    """

    name = "integrated-gradients"
    question = "How is the score's rise from a baseline distributed over pixels?"
    source = "Sundararajan, Taly, Yan 2017, arXiv 1703.01365"

    steps: int = 32
    baseline: str = "mean"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check(self.steps >= 1, f"{self.name}: steps must be at least 1, not {self.steps}")

    @property
    def signed(self) -> bool:
        """True: contributions have a sign."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request nothing of the shared forward pass but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """Return the path integral, with its completeness residual."""
        pixels = recording.pixels.detach()
        start = baseline(self.baseline, recording.model, pixels)
        nodes, weights = _gauss_legendre(self.steps)
        gradient = summed_gradient(
            recording, lambda k: start + float(nodes[k]) * (pixels - start), weights
        )
        values = ((pixels - start) * gradient).float()
        with torch.no_grad():
            rise = recording.score - recording.asked.of(recording.run(start)).float()
        missing = (values.sum((1, 2, 3)) - rise).abs() / rise.abs().clamp_min(1e-12)
        return Attribution(values, values.sum(1), residual=missing)


def _gauss_legendre(steps: int) -> tuple[Tensor, Tensor]:
    """Return nodes in [0, 1] and weights that sum to 1.

    Finding n nodes takes the eigenvalues of an n x n matrix, so more than `ONE_RULE` nodes are
    spread over equal intervals, each with its own rule.
    """
    intervals = -(-steps // ONE_RULE)
    nodes, weights = [], []
    for i in range(intervals):
        count = steps // intervals + (i < steps % intervals)
        x, w = _rule(count)
        nodes.append((i + (x + 1) / 2) / intervals)
        weights.append(w / 2 / intervals)
    return torch.from_numpy(np.concatenate(nodes)), torch.from_numpy(np.concatenate(weights))


@cache
def _rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes in [-1, 1] and weights of Gauss and Legendre."""
    return np.polynomial.legendre.leggauss(count)
