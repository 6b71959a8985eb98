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
from inspect import signature

from torch import Tensor

from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.rules import linear
from seewhy.autodiff.rules.base import Rule, Rules
from seewhy.autodiff.rules.linear import STABILISER
from seewhy.autodiff.rules.others import RELEVANCE
from seewhy.errors import SeewhyError, Unknown

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

    def chosen(operation: Operation, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        assert isinstance(operation, Linear)
        rules = (rule for condition, rule in choices if condition(operation))
        return next(rules, Operation.gradient)(operation, cotangent)

    return Rules(name, {**others, "linear": chosen})


@cache
def epsilon_everywhere(epsilon: float = STABILISER) -> Rules:
    """Use the epsilon rule for every linear operation."""
    return composite("epsilon", [(always, linear.epsilon(epsilon))])


@cache
def epsilon_plus(epsilon: float = STABILISER) -> Rules:
    """Use z+ for convolutions, and epsilon for dense layers."""
    return composite(
        "epsilon-plus",
        [(is_convolution, linear.z_plus(epsilon)), (always, linear.epsilon(epsilon))],
    )


@cache
def epsilon_plus_flat(epsilon: float = STABILISER) -> Rules:
    """Use epsilon-plus, with the flat rule for the first layer."""
    return composite(
        "epsilon-plus-flat",
        [
            (reads_picture, linear.flat(epsilon)),
            (is_convolution, linear.z_plus(epsilon)),
            (always, linear.epsilon(epsilon)),
        ],
    )


@cache
def epsilon_alpha2_beta1(epsilon: float = STABILISER) -> Rules:
    """Use alpha-beta (alpha 2, beta 1) for convolutions, and epsilon for dense layers."""
    return composite(
        "epsilon-alpha2-beta1",
        [(is_convolution, linear.alpha_beta(2, 1, epsilon)), (always, linear.epsilon(epsilon))],
    )


@cache
def epsilon_alpha2_beta1_flat(epsilon: float = STABILISER) -> Rules:
    """Use epsilon-alpha2-beta1, with the flat rule for the first layer."""
    return composite(
        "epsilon-alpha2-beta1-flat",
        [
            (reads_picture, linear.flat(epsilon)),
            (is_convolution, linear.alpha_beta(2, 1, epsilon)),
            (always, linear.epsilon(epsilon)),
        ],
    )


@cache
def epsilon_gamma_box(gamma: float = 0.25, epsilon: float = STABILISER) -> Rules:
    """Use gamma for convolutions, epsilon for dense layers, and z-box for the first convolutions.

    These are the convolutions that no other linear operation precedes: they have a `prefix`.
    """
    first: Condition = lambda op: is_convolution(op) and op.prefix is not None  # noqa: E731
    return composite(
        "epsilon-gamma-box",
        [
            (first, linear.pixel_box(0.0, 1.0, epsilon)),
            (is_convolution, linear.gamma(gamma, epsilon)),
            (always, linear.epsilon(epsilon)),
        ],
    )


COMPOSITES: dict[str, Rules | Callable[..., Rules]] = {
    "epsilon": epsilon_everywhere,
    "epsilon-plus": epsilon_plus,
    "epsilon-plus-flat": epsilon_plus_flat,
    "epsilon-alpha2-beta1": epsilon_alpha2_beta1,
    "epsilon-alpha2-beta1-flat": epsilon_alpha2_beta1_flat,
    "epsilon-gamma-box": epsilon_gamma_box,
}


def add_composite(name: str, rules: Rules | Callable[..., Rules]) -> None:
    """Make a composite of your own available by name: `explain(model, x, "lrp", composite=name)`.

    - `rules`: what `composite` returns, or a function that returns it. Parameters of the function
      that are called `epsilon` and `gamma` can then be set as hyperparameters.
    """
    COMPOSITES[name] = rules if isinstance(rules, Rules) else cache(rules)


def rules_of(name: str, **parameters: float | None) -> Rules:
    """The composite of this name; parameters that are None have the composite's defaults.

    Raises Unknown for a name that does not exist, SeewhyError for a parameter that this composite
    does not have.
    """
    if name not in COMPOSITES:
        raise Unknown("composite", name, COMPOSITES, hint=f"there are {', '.join(COMPOSITES)}")
    rules = COMPOSITES[name]
    given = {key: value for key, value in parameters.items() if value is not None}
    has = () if isinstance(rules, Rules) else tuple(signature(rules).parameters)
    for key in given:
        if key not in has:
            listed = f"it has {', '.join(has)}" if has else "it has none"
            raise SeewhyError(f"the composite {name} has no parameter {key}; {listed}")
    return rules if isinstance(rules, Rules) else rules(**given)
