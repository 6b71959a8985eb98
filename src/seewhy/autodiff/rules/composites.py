"""Composites: which LRP rule applies to which linear operation.

A composite is a list of (condition, rule) pairs; the first condition that holds applies. Example:

    composite("mine", [
        (reads_picture, flat()),
        (in_layer("layer4*"), epsilon(0.01)),
        (is_convolution, gamma(0.1)),
        (always, epsilon()),
    ])

Every other operation (norms, activations, attention, gates) uses `others.RELEVANCE`.
Names follow Kohlbrenner et al. 2020, arXiv 1910.09840, and Montavon et al. 2019 (LRP: an overview).
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache

from torch import Tensor

from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.rules.base import Rule, Rules
from seewhy.autodiff.rules.linear import (
    STABILISER,
    alpha_beta,
    epsilon,
    flat,
    gamma,
    pixel_box,
    z_plus,
)
from seewhy.autodiff.rules.others import RELEVANCE

Condition = Callable[[Linear], bool]


def always(operation: Linear) -> bool:
    """Match every linear operation."""
    return True


def is_convolution(operation: Linear) -> bool:
    """Match convolutions and transposed convolutions."""
    return operation.type == "convolution"


def reads_picture(operation: Linear) -> bool:
    """Match the first linear operation on any path from the pixels."""
    return operation.reads_picture


def in_layer(pattern: str) -> Condition:
    """Match layers by name or pattern, such as "features.0" or "layer4*".

    The name is that of the module that owns the weight.
    """
    return lambda operation: operation.layer is not None and fnmatchcase(operation.layer, pattern)


def at_depth(first: int, last: int) -> Condition:
    """Match linear operations whose depth is in [first, last]; those nearest the pixels have 1."""
    return lambda operation: first <= operation.depth <= last


def composite(
    name: str,
    choices: Sequence[tuple[Condition, Rule]],
    others: Mapping[str, Rule] = RELEVANCE,
) -> Rules:
    """Build a rule set that selects a rule per linear operation; the gradient if none matches."""

    def linear(operation: Operation, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        assert isinstance(operation, Linear)
        rules = (rule for condition, rule in choices if condition(operation))
        return next(rules, Operation.gradient)(operation, cotangent)

    return Rules(name, {**others, "linear": linear})


@cache
def epsilon_everywhere(small: float = STABILISER) -> Rules:
    """Use the epsilon rule for every linear operation."""
    return composite("epsilon", [(always, epsilon(small))])


@cache
def epsilon_plus(small: float = STABILISER) -> Rules:
    """Use z+ for convolutions, and epsilon for dense layers."""
    return composite("epsilon-plus", [(is_convolution, z_plus(small)), (always, epsilon(small))])


@cache
def epsilon_plus_flat(small: float = STABILISER) -> Rules:
    """Use epsilon-plus, with the flat rule for the first layer."""
    return composite(
        "epsilon-plus-flat",
        [(reads_picture, flat(small)), (is_convolution, z_plus(small)), (always, epsilon(small))],
    )


@cache
def epsilon_alpha2_beta1(small: float = STABILISER) -> Rules:
    """Use alpha-beta (alpha 2, beta 1) for convolutions, and epsilon for dense layers."""
    return composite(
        "epsilon-alpha2-beta1",
        [(is_convolution, alpha_beta(2, 1, small)), (always, epsilon(small))],
    )


@cache
def epsilon_alpha2_beta1_flat(small: float = STABILISER) -> Rules:
    """Use epsilon-alpha2-beta1, with the flat rule for the first layer."""
    return composite(
        "epsilon-alpha2-beta1-flat",
        [
            (reads_picture, flat(small)),
            (is_convolution, alpha_beta(2, 1, small)),
            (always, epsilon(small)),
        ],
    )


@cache
def epsilon_gamma_box(strength: float = 0.25, small: float = STABILISER) -> Rules:
    """Use gamma for convolutions, epsilon for dense layers, and z-box for the first convolutions.

    These are the convolutions that no other linear operation precedes: they have a `prefix`.
    """
    first: Condition = lambda op: is_convolution(op) and op.prefix is not None  # noqa: E731
    return composite(
        "epsilon-gamma-box",
        [
            (first, pixel_box(0.0, 1.0, small)),
            (is_convolution, gamma(strength, small)),
            (always, epsilon(small)),
        ],
    )
