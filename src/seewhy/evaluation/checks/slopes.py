"""Is the gradient the slope of the score?

Along random directions d, the central difference (f(x + h d) - f(x - h d)) / 2 h must be the
gradient times d. In float64 where the network has a copy in that type, so that rounding does not
hide an error. Rectifiers have kinks, so the median over directions counts, at the best of several
steps h: a wrong gradient is wrong at each of them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.evaluation.checks.check import Check, at_most, not_applicable
from seewhy.evaluation.checks.subject import Subject

TOPIC, NAME = "gradient", "gradient and finite differences"
DIRECTIONS = 4
# By whether it is float64: steps, in units of a pixel's range, and the error that is rounding.
STEPS = {True: (1e-8, 1e-7, 1e-6, 1e-5), False: (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)}
BOUND = {True: 1e-3, False: 0.1}
WRONG = (
    "the gradient is not the slope of the score: a custom backward pass, a detached part, or steps "
    "(rounding, quantisation) in the forward pass; methods that need no gradient still work"
)


def gradient_is_slope(subject: Subject) -> list[Check]:
    """The gradient times random directions, against central differences."""
    if subject.no_gradient:
        return [not_applicable(TOPIC, NAME, "relative error", subject.no_gradient)]
    exact = subject.double is not None
    probed = subject.double or subject
    _, gradient = probed.passes(probed.model.forward, probed.picture)
    assert gradient is not None
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(DIRECTIONS, *gradient.shape[1:], generator=generator).to(gradient)
    slopes = (gradient * directions).flatten(1).double().sum(1)
    error, bound = float("inf"), BOUND[exact]
    for step in STEPS[exact]:
        error = min(error, _error(slopes, _differences(probed, directions, step), gradient))
        if error <= bound:
            break
    measured = (
        f"score along {DIRECTIONS} random directions in {'float64' if exact else 'its own type'}: "
        "median difference over the gradient's norm"
    )
    return [at_most(TOPIC, NAME, measured, error, bound, WRONG)]


def _error(
    slopes: Float[Tensor, " directions"], measured: Float[Tensor, " directions"], gradient: Tensor
) -> float:
    """The gradient's norm is the root mean square of its slopes along such directions."""
    scale = max(float(gradient.double().norm()), float(measured.square().mean().sqrt()))
    difference = float((slopes - measured).abs().median())
    return difference / scale if scale > 0 else 0.0


def _differences(
    subject: Subject, directions: Float[Tensor, "directions channels height width"], step: float
) -> Float[Tensor, " directions"]:
    """Central differences of the score, one picture at a time."""

    def score(pixels: Tensor) -> Tensor:
        return subject.logits(subject.model.forward, pixels)[0, subject.target].double()

    found = [
        (score(subject.picture + step * d) - score(subject.picture - step * d)) / (2 * step)
        for d in directions
    ]
    return torch.stack(found)
