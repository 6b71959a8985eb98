"""`Check`: one row of the table, and how a measured error becomes a verdict."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.models.model import Model

OK, DIFFERS, NOT_APPLICABLE = "ok", "differs", "not applicable"
TF32 = 2.0**-10  # its step at 1


@dataclass(frozen=True)
class Check:
    """One property of the network, what was measured, and the verdict.

    - `topic`: the group of checks. `name`: the property. `measured`: what `value` is.
    - `value`: the number that was measured, None where it is words alone.
    - `bound`: what the value must fulfil, such as "<= 0.001"; empty where nothing is required.
    - `verdict`: "ok", "differs" or "not applicable". `reason`: why, or what is assumed.
    """

    topic: str
    name: str
    measured: str
    verdict: str
    value: float | None = None
    bound: str = ""
    reason: str = ""


def at_most(topic: str, name: str, measured: str, value: float, bound: float, why: str) -> Check:
    """An error that must not exceed `bound`; NaN exceeds it. `why` is said if it does."""
    right = value <= bound
    verdict, reason = (OK, "") if right else (DIFFERS, why)
    return Check(topic, name, measured, verdict, value, f"<= {bound:g}", reason)


def above_zero(topic: str, name: str, measured: str, value: float, why: str) -> Check:
    """A size that must not be zero; `why` is said if it is, or if it is not finite."""
    right = math.isfinite(value) and value > 0
    return Check(
        topic, name, measured, OK if right else DIFFERS, value, "> 0", "" if right else why
    )


def not_applicable(
    topic: str, name: str, measured: str, reason: str, value: float | None = None
) -> Check:
    """A property that the network does not have, or that cannot be measured, and why."""
    return Check(topic, name, measured, NOT_APPLICABLE, value, "", " ".join(reason.split()))


def stated(topic: str, name: str, fact: str) -> Check:
    """Something that is assumed or was found, in words."""
    return Check(topic, name, "", OK, None, "", fact)


def norm_error(values: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm of `expected`; 0 where both are zero."""
    values, expected = values.detach().double().cpu(), expected.detach().double().cpu()
    difference = float((values - expected).norm())
    return 0.0 if difference == 0 else difference / max(float(expected.norm()), 1e-300)


def largest_error(values: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest value of `expected`; 0 where both are zero."""
    values, expected = values.detach().double().cpu(), expected.detach().double().cpu()
    difference = float((values - expected).abs().max())
    return 0.0 if difference == 0 else difference / max(float(expected.abs().max()), 1e-300)


def rounding(model: Model, bound: float) -> float:
    """The bound, widened to 20 steps of the type in which the model computes.

    That matters for half precision, and for TF32, which torch uses for convolutions on CUDA.
    """
    step = torch.finfo(model.dtype).eps
    if model.device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        step = max(step, TF32)
    return max(bound, 20 * step)
