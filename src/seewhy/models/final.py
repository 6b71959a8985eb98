"""Networks that end in a softmax or sigmoid: the logits are its input.

An explanation of a probability mixes evidence for a class with evidence against all others, and
gradients vanish where the network is certain. So the input of a last softmax, log-softmax or
sigmoid is taken for the logits, whichever way the network calls it. A sigmoid of several outputs
means classes that do not exclude one another (multi-label).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

aten = torch.ops.aten
NAMES: dict[Callable, str] = {
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax, aten.softmax.int), "softmax"),
    **dict.fromkeys(
        (F.log_softmax, torch.log_softmax, Tensor.log_softmax, aten.log_softmax.int), "log-softmax"
    ),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, F.sigmoid, aten.sigmoid.default), "sigmoid"),
}


class LastFunction(TorchFunctionMode):
    """Remembers the last softmax, log-softmax or sigmoid that a network called."""

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[str, Tensor, Tensor] | None = None  # its name, input and output

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Call the function, and note its input and output."""
        given = kwargs or {}
        result = func(*args, **given)
        if func in NAMES and isinstance(result, Tensor):
            axis = given.get("dim", args[1] if len(args) > 1 else -1)
            over_classes = NAMES[func] == "sigmoid" or axis in (-1, 1)
            read = args[0] if args else given["input"]
            self.last = (NAMES[func], read, result) if over_classes else None
        return result

    def before(self, output: Any) -> tuple[str, Tensor] | None:
        """The function that put out the network's output, and what it read."""
        if self.last is None or output is not self.last[2]:
            return None
        name, logits, _ = self.last
        many = logits.ndim == 2 and logits.shape[1] > 1
        return (name, logits) if many or name == "sigmoid" else None
