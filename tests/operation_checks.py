"""What LRP, DeepLIFT and the gradient say of each of `operation_cases`, and what is right."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

import seewhy
from operation_cases import Between, Case, pixels
from seewhy.autodiff.rules.composites import epsilon_everywhere
from seewhy.autodiff.rules.rescale import RESCALE
from seewhy.autodiff.tape import Tape
from seewhy.errors import NotApplicable

CLASS = 1
SMALL = 1e-30  # stabiliser
METHODS = ("lrp-epsilon", "lrp-epsilon-plus", "deep-lift")


@dataclass(frozen=True)
class Outcome:
    """What one method says: `refused` in words, or numbers as shares of what they belong to.

    - `missing`: from the books. - `kept`: by constants. - `constants`: how much more or less that
    is than right; NaN where that is not known. - `wrong`: the largest error of the map.
    """

    refused: str = ""
    missing: float = 0.0
    kept: float = 0.0
    constants: float = math.nan
    wrong: float = math.nan

    @property
    def right(self) -> bool:
        """Within what float64 rounds, or NaN: not known."""
        return not any(v > 1e-6 for v in (self.missing, abs(self.constants), self.wrong))


@cache
def outcome(case: Case, method: str) -> Outcome:
    """What the method says of the case's network, against what is right."""
    net, x = Between(case), pixels()
    model = seewhy.Model(net, mean=0.0, std=1.0)
    options = {"baseline": "white"} if method == "deep-lift" else {"epsilon": SMALL}
    try:
        e = seewhy.explain(model, x, method, CLASS, **options)
    except NotApplicable as reason:
        return Outcome(str(reason))
    assert e.residual is not None
    missing = float(e.residual.max())
    if method == "deep-lift":
        return Outcome(missing=missing, wrong=_of_affine(case, net, x, e.attribution))
    assert e.constants is not None
    constants, wrong = math.nan, math.nan
    if case.share or (case.affine and method == "lrp-epsilon"):  # z+ leaves less for a bias
        of_zero = 0
        if case.affine or case.share == "each":
            of_zero = net.head(_at_zero(case, net).flatten(1))[:, CLASS]
        right = (of_zero / net(x)[:, CLASS]).detach()
        constants = float(((e.constants - right).abs() / right.abs().clamp_min(1)).max())
    if case.share and method == "lrp-epsilon":
        wrong = _error(e.attribution, relevance(case, net, x))
    return Outcome("", missing, float(e.constants.abs().max()), constants, wrong)


def relevance(case: Case, net: Between, x: Tensor) -> Tensor:
    """What LRP-epsilon has to say of the pixels, by plain autograd."""
    z = net.conv(x).detach().requires_grad_()
    if case.share == "each":
        caused = net.operation(z) - _at_zero(case, net)
        of_outputs = net.head.weight[CLASS] * caused.flatten(1)
        of_z = of_outputs.view_as(z)
    else:
        (gradient,) = torch.autograd.grad(net.after(z)[:, CLASS].sum(), z)
        of_z = z * gradient / (2 if case.share == "half" else 1)
    seen = x.clone().requires_grad_()
    (pulled,) = torch.autograd.grad(net.conv(seen), seen, (of_z / z).detach())
    return x * pulled


def _at_zero(case: Case, net: Between) -> Tensor:
    """What the operation puts out for zeros; 0 where that is not finite, as of a logarithm."""
    value = net.operation(torch.zeros(2, 8, 6, 6).double())
    return torch.where(value.isfinite(), value, 0) if case.share == "each" else value


def _of_affine(case: Case, net: Between, x: Tensor, found: Tensor) -> float:
    """The error of DeepLIFT's map where it is known: (x - x0) * gradient of affine operations."""
    if not case.affine:
        return math.nan
    seen = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(seen)[:, CLASS].sum(), seen)
    return _error(found, (x - 1) * gradient)


def kinds(case: Case) -> set[str]:
    """The kinds of operation that LRP has a rule for, of those between the two layers."""
    net, x = Between(case).requires_grad_(False), pixels().requires_grad_()
    before = Tape(epsilon_everywhere().by_kind, x)
    z = net.conv(x)
    with before:
        net.operation(z)
    return set(before.seen)


def gradient_error(case: Case) -> float:
    """Of a recorded forward, outputs and gradient against plain autograd; share of the largest."""
    net, x = Between(case).requires_grad_(False), pixels().requires_grad_()
    plain = net(x)
    (expected,) = torch.autograd.grad(plain[:, CLASS].sum(), x, allow_unused=True)
    tape = Tape({*epsilon_everywhere().by_kind, *RESCALE.by_kind}, x)
    with tape:
        recorded = net(x)
    (found,) = tape.pull(recorded[:, CLASS].sum(), [x])
    if expected is None or found is None:
        assert expected is None and found is None
        return 0.0
    return max(_error(recorded.detach(), plain.detach()), _error(found, expected))


def _error(found: Tensor, expected: Tensor) -> float:
    largest = expected.abs().max().clamp_min(1e-30)
    return float(((found.double() - expected).abs().max() / largest).detach())
