"""One forward, many backwards.

A `Tape` watches an unmodified network run. Every torch function whose *kind* it was asked to
watch (say "relu": `F.relu`, `x.relu_()`, `nn.ReLU`, `F.relu6`, ...) is swapped for the same
function with a backward that asks the rule set in force. The recorded graph can then be
pulled back again and again, each time under other rules:

    tape = Tape({"relu"})
    with tape:
        logits = net(x)
    guided = tape.pull(logits[:, 3].sum(), [x], GUIDED)
    plain = tape.pull(logits[:, 3].sum(), [x], GRADIENT)

Functional, in-place and reused operations work, because functions are watched and not
modules. Where no rule is in force the backward is autograd's own, bit for bit: an operation
runs inside a small local graph of its own, and the plain backward pulls through that.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.overrides import TorchFunctionMode

from seewhy.operations import FUNCTIONS, Operation
from seewhy.rules import GRADIENT, Rules


class Tape(TorchFunctionMode):
    """Records the operations of the given kinds while it is active (`with tape: ...`)."""

    def __init__(self, kinds: Collection[str]):
        super().__init__()
        self.kinds = frozenset(kinds)
        self.seen: Counter[str] = Counter()
        self.rules: Rules = GRADIENT

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Swap a watched function for its intercepted twin; pass everything else through."""
        kwargs = kwargs or {}
        function = FUNCTIONS.get(func)
        if function is None or function.kind not in self.kinds:
            return func(*args, **kwargs)
        call = function.bind(args, kwargs)
        if call is None:
            return func(*args, **kwargs)
        if not (torch.is_grad_enabled() and any(t.requires_grad for t in call.tensors)):
            return func(*args, **kwargs)  # does not depend on the picture
        self.seen[call.kind] += 1
        if not call.in_place:
            return _Intercepted.apply(self, call.kind, call.compute, *call.tensors)
        # The old value may be needed by the backward, so the operation reads a copy of it;
        # writing the result back keeps every alias of the tensor right.
        target, *others = call.tensors
        result = _Intercepted.apply(self, call.kind, call.compute, target.clone(), *others)
        return target.copy_(result)

    def pull(
        self,
        output: Tensor,
        sources: Sequence[Tensor] | Sequence[GradientEdge],
        rules: Rules = GRADIENT,
    ) -> tuple[Tensor | None, ...]:
        """Pull the scalar `output` back to `sources` under `rules`; the graph is kept.

        A source that `output` does not depend on gets None.
        """
        self.rules = rules
        try:
            return torch.autograd.grad(output, sources, retain_graph=True, allow_unused=True)
        finally:
            self.rules = GRADIENT


class _Intercepted(torch.autograd.Function):
    """An operation whose backward is decided by the tape's rules when it is pulled back."""

    @staticmethod
    def forward(ctx: Any, tape: Tape, kind: str, compute: Callable, *tensors: Tensor) -> Tensor:
        with torch.enable_grad():
            inputs = tuple(t.detach().requires_grad_(t.requires_grad) for t in tensors)
            output = compute(*inputs)
        ctx.tape = tape
        ctx.operation = Operation(kind, inputs, output)
        return output.detach()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        operation: Operation = ctx.operation
        rule = ctx.tape.rules.for_kind(operation.kind)
        pulled = rule(operation, cotangents[0])
        return (None, None, None, *pulled)
