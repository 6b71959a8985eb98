"""What the picture decides in a forward pass without a gradient: masks, selections, frozen factors.

    x * (x > 0)        a comparison          x.gather(1, x.argmax(1))      an index
    x.sort().values    an order              x * x.detach().sigmoid()      a detached factor

The gradient holds these fixed, and so do rules for a single forward pass. A method that compares
two passes, DeepLIFT, can do so only if both decide the same: a jump from one decision to another
belongs to no operand. `Decisions` lists what was decided where it meets activations of the picture.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from seewhy.autodiff.operations.unruled import name_of, selects


class Decisions:
    """The decisions of one forward pass, in the order in which they were used.

    `used`: the name of the function, and what was decided; None where the function keeps it to
    itself.
    """

    def __init__(self) -> None:
        self.used: list[tuple[str, Tensor | None]] = []

    def see(self, func: Callable, args: tuple, kwargs: dict, result: Any, known: bool) -> None:
        """Take note of one call; `known`: a kind is known, so that its rule knows what it selects.

        A tensor that comes from the picture and has no gradient is marked as decided.
        """
        operands = list(_tensors((*args, *kwargs.values())))
        decided = [t for t in operands if _is_marked(t)]
        if not decided and not any(t.requires_grad for t in operands):
            return
        results = list(_tensors(result if isinstance(result, tuple | list) else (result,)))
        if any(t.requires_grad for t in results):
            self.used += [(name_of(func), t) for t in decided]
            if selects(func) and not known:
                indices = [t for t in results if not t.is_floating_point()] or [None]
                self.used += [(name_of(func), t) for t in indices]
        if not name_of(func).endswith("_like"):
            for tensor in results:
                if not tensor.requires_grad:
                    tensor._seewhy_decided = True  # type: ignore[attr-defined]

    def first_difference(self, other: "Decisions", same: Callable[[Tensor, Tensor], bool]) -> str:
        """Return the name of the first function that was given other decisions; "" if none was."""
        for (name, here), (there_name, there) in zip(self.used, other.used, strict=False):
            if name != there_name or here is None or there is None or not same(there, here):
                return name
        return "" if len(self.used) == len(other.used) else "functions"


def _is_marked(tensor: Tensor) -> bool:
    return not tensor.requires_grad and hasattr(tensor, "_seewhy_decided")


def _tensors(values: tuple | list) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)
        elif isinstance(value, slice):
            yield from _tensors((value.start, value.stop, value.step))


def equal(a: Tensor, b: Tensor) -> bool:
    """Return whether two decisions are the same, but for rounding."""
    return torch.allclose(a, b) if a.is_floating_point() else torch.equal(a, b)
