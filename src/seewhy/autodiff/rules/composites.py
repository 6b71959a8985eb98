"""Composites: which LRP rule for which linear operation.

A composite is a list of (condition, rule); the first condition that holds decides. To make one:

    composite("mine", [
        (reads_picture, flat()),
        (in_layer("layer4*"), epsilon(0.01)),
        (is_convolution, gamma(0.1)),
        (always, epsilon()),
    ])

Every other operation (norms, activations, attention, gates) follows `others.RELEVANCE`.
Named as in Kohlbrenner et al. 2020, arXiv 1910.09840, and Montavon et al. 2019 (LRP: an overview).
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
    """Every linear operation."""
    return True


def is_convolution(operation: Linear) -> bool:
    """Convolutions and transposed convolutions."""
    return operation.type == "convolution"


def reads_picture(operation: Linear) -> bool:
    """The first linear operation on a way from the pixels."""
    return operation.reads_picture


def in_layer(pattern: str) -> Condition:
    """Layers by name, as in "features.0" or "layer4*" (the module that owns the weight)."""
    return lambda operation: operation.layer is not None and fnmatchcase(operation.layer, pattern)


def at_depth(first: int, last: int) -> Condition:
    """Linear operations by depth: the first from the picture on has depth 1."""
    return lambda operation: first <= operation.depth <= last


def composite(
    name: str,
    choices: Sequence[tuple[Condition, Rule]],
    others: Mapping[str, Rule] = RELEVANCE,
) -> Rules:
    """A rule set that chooses the rule of each linear operation; the gradient where none holds."""

    def linear(operation: Operation, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        assert isinstance(operation, Linear)
        rules = (rule for condition, rule in choices if condition(operation))
        return next(rules, Operation.gradient)(operation, cotangent)

    return Rules(name, {**others, "linear": linear})


@cache
def epsilon_everywhere(small: float = STABILISER) -> Rules:
    """The epsilon rule for every linear operation."""
    return composite("epsilon", [(always, epsilon(small))])


@cache
def epsilon_plus(small: float = STABILISER) -> Rules:
    """z+ for convolutions, epsilon for dense layers."""
    return composite("epsilon-plus", [(is_convolution, z_plus(small)), (always, epsilon(small))])


@cache
def epsilon_plus_flat(small: float = STABILISER) -> Rules:
    """As epsilon-plus, with the flat rule where the picture is read."""
    return composite(
        "epsilon-plus-flat",
        [(reads_picture, flat(small)), (is_convolution, z_plus(small)), (always, epsilon(small))],
    )


@cache
def epsilon_alpha2_beta1(small: float = STABILISER) -> Rules:
    """alpha-beta with 2 and 1 for convolutions, epsilon for dense layers."""
    return composite(
        "epsilon-alpha2-beta1",
        [(is_convolution, alpha_beta(2, 1, small)), (always, epsilon(small))],
    )


@cache
def epsilon_alpha2_beta1_flat(small: float = STABILISER) -> Rules:
    """As epsilon-alpha2-beta1, with the flat rule where the picture is read."""
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
    """gamma for convolutions, epsilon for dense layers, z-box where the picture alone is read."""
    first: Condition = lambda op: is_convolution(op) and op.prefix is not None  # noqa: E731
    return composite(
        "epsilon-gamma-box",
        [
            (first, pixel_box(0.0, 1.0, small)),
            (is_convolution, gamma(strength, small)),
            (always, epsilon(small)),
        ],
    )
