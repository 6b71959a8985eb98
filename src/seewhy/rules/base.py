"""What a rule set is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from seewhy.operations import Operation

Rule = Callable[[Operation, Tensor], tuple[Tensor | None, ...]]


@dataclass(frozen=True, eq=False)
class Rules:
    """A named rule set: `by_kind` maps a kind of operation to its rule."""

    name: str
    by_kind: Mapping[str, Rule] = field(default_factory=dict)

    def for_kind(self, kind: str) -> Rule:
        """The rule for operations of this kind: the gradient where none is given."""
        return self.by_kind.get(kind, Operation.gradient)


GRADIENT = Rules("gradient")
