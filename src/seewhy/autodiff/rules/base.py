"""The `Rules` class: a named set of backward rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seewhy.autodiff.operations import Operation

Rule = Callable[[Operation, Tensor], tuple[Tensor | None, ...]]


@dataclass(frozen=True, eq=False)
class Rules:
    """A named rule set: `by_kind` maps a kind of operation to its rule.

    `reads_input`: kinds whose rule needs the input, although the plain backward pass does not.
    `compares`: whether the rules compare two forward passes.
    """

    name: str
    by_kind: Mapping[str, Rule] = field(default_factory=dict)
    reads_input: frozenset[str] = frozenset()
    compares: bool = False

    def for_kind(self, kind: str) -> Rule:
        """Return the rule for operations of this kind; by default the gradient."""
        return self.by_kind.get(kind, Operation.gradient)


GRADIENT = Rules("gradient")


def stabilised(values: Tensor, epsilon: float) -> Tensor:
    """Move values away from zero by epsilon, for use as divisors; zero counts as positive."""
    return torch.where(values < 0, values - epsilon, values + epsilon)
