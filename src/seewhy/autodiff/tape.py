"""Record one forward pass, then run many backward passes under different rules.

A `Tape` records an unmodified network while it runs. Every torch function of a requested *kind*
(for example "relu": `F.relu`, `x.relu_()`, `nn.ReLU`, ...) is replaced by the same function with a
backward pass that uses the current rule set. The recorded graph can then be differentiated many
times ("pulled back"), each time under other rules:

    tape = Tape(RECTIFIER_KINDS)
    with tape:
        logits = net(x)
    guided = tape.pull(logits[:, 3].sum(), [x], GUIDED)
    plain = tape.pull(logits[:, 3].sum(), [x], GRADIENT)

Functional, in-place and reused operations work, because functions are intercepted, not modules.
Without a rule, the backward pass is autograd's own, bit for bit: every operation has a small local
autograd graph, and the default rule differentiates that.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from seewhy.autodiff.decisions import Decisions
from seewhy.autodiff.graph import DepthTracker, linear_operations, maker
from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.operations import FUNCTIONS, OPENED, Call, Linear, Operation, can_be_ruled
from seewhy.autodiff.operations.affine import (
    affine_call,
    canvas,
    constant,
    first_depending,
    has_terms,
)
from seewhy.autodiff.operations.base import address
from seewhy.autodiff.operations.linear import LinearFunction
from seewhy.autodiff.operations.norms import affine
from seewhy.autodiff.operations.unruled import without_rule
from seewhy.autodiff.prefix import Prefix
from seewhy.autodiff.rules import GRADIENT, Rules
from seewhy.support.batch_norm import keep_layout

_RULED = frozenset({"linear", "product"})  # rule sets with these need a rule for every function

Logged = tuple[Operation, GradientEdge]


class Tape(TorchFunctionMode):
    """Records the operations of the given kinds while it is active (`with tape: ...`).

    - `source`: the pixels. `layers`: the layer name of each weight, by the tensor's id.
    - `reads_input`: kinds whose input must be kept because a rule reads it.
    - `seen`, `without_rule`: number of recorded calls per kind, and of calls to functions for which
      no rule is known, by name.
    - `log`: maps some kinds to lists, to which their operations and graph edges are appended.
    - `decisions`: what the picture decided without a gradient; noted only if `compares`, for rules
      that compare two passes.
    """

    def __init__(
        self,
        kinds: Collection[str],
        source: Tensor | None = None,
        layers: Mapping[int, str] | None = None,
        log: Mapping[str, list[Logged]] | None = None,
        reads_input: Collection[str] = (),
        compares: bool = False,
    ):
        super().__init__()
        self.kinds = frozenset(kinds)
        self.seen: Counter[str] = Counter()
        self.without_rule: Counter[str] = Counter()
        self.decisions = Decisions()
        self._compares = compares
        self.rules: Rules = GRADIENT
        self.ledger = Ledger()
        self._log = log or {}
        self._reads_input = frozenset(reads_input)
        self._source = source
        self._layers = layers or {}
        self._calls: Counter[str] = Counter()
        self._stored: dict[int, list[Operation]] = defaultdict(list)
        self._ways = DepthTracker(source)
        self._paused = False
        self._entered = 0

    def __exit__(self, *error: Any) -> None:
        """Release what only the forward pass needs; it would form a reference cycle."""
        super().__exit__(*error)
        self._entered -= 1
        if not self._entered:
            self._stored.clear()
            self._ways.clear()
            self._log = {}

    def __enter__(self) -> "Tape":
        """Start recording; may be nested inside a recorded function."""
        self._entered += 1
        return super().__enter__()

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Replace a recorded function by its intercepted version; call all others unchanged."""
        kwargs = kwargs or {}
        if self._paused or not self.kinds:
            return func(*args, **kwargs)
        if func in OPENED and self.kinds & {"linear", "product", "softmax"}:
            with self:
                opened = OPENED[func](*args, **kwargs)
            if opened is not NotImplemented:
                return opened
        if func in FUNCTIONS or ("affine" in self.kinds and has_terms(func)):
            args = tuple(self._without_strangers(list(args)))
            kwargs = dict(zip(kwargs, self._without_strangers(list(kwargs.values())), strict=True))
        writes = _writes(func, args, kwargs)
        if writes:
            self._preserve(func, args, kwargs)
            self._record_canvas(func, args, kwargs)
        call, known = self._call_to_record(func, args, kwargs)
        if not known and "affine" in self.kinds:
            call = affine_call(func, args, kwargs, writes)
        result = func(*args, **kwargs) if call is None else self._run(call, func, args, kwargs)
        if not known and self.kinds & _RULED and self._depends(result):
            name = without_rule(func, args, kwargs)
            if name:
                self.without_rule[name] += 1
        if self._compares:
            self.decisions.see(func, args, kwargs, result, known)
        if "linear" in self.kinds and isinstance(result, Tensor | tuple | list):
            _count_uses(args)
        return result

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend recording, for computations that are not part of the network."""
        self._paused, before = True, self._paused
        try:
            yield
        finally:
            self._paused = before

    def pull(
        self,
        output: Tensor,
        sources: Sequence[Tensor] | Sequence[GradientEdge],
        rules: Rules = GRADIENT,
        ledger: Ledger | None = None,
        start: tuple[GradientEdge, Tensor] | None = None,
    ) -> tuple[Tensor | None, ...]:
        """Differentiate the scalar `output` with respect to `sources` under `rules`.

        The graph is kept. A source that `output` does not depend on gets None. With `start`, an
        edge in the graph and its cotangent, only the part before that edge is differentiated.
        Relevance that rules do not pass on is recorded in `ledger`.
        """
        self.rules, self.ledger = rules, ledger or Ledger()
        self.ledger.last = frozenset(linear_operations(output))
        try:
            end: Any  # autograd takes either
            end, cotangent = start or (output, None)
            return torch.autograd.grad(
                [end], sources, cotangent, retain_graph=True, allow_unused=True
            )
        finally:
            self.ledger.last = frozenset()
            self.rules, self.ledger = GRADIENT, Ledger()

    def begin(self, leaf: Tensor) -> None:
        """Let the graph begin at this leaf, too, which requires gradients."""
        self._ways.begin(leaf)

    def _without_strangers(self, values: list) -> list:
        """Cut off tensors that have a graph, but not one that begins at the pixels.

        A network may keep what it made of its parameters in an earlier forward, when those required
        gradients (attention biases, made once). It does not depend on the picture: relevance that
        it was given would be lost.
        """
        return [self._without_stranger(value) for value in values]

    def _without_stranger(self, value: Any) -> Any:
        if isinstance(value, list) or type(value) is tuple:
            return type(value)(self._without_strangers(list(value)))
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        if value.is_leaf:
            self.begin(value)
        return value if self._ways.begun(value) else value.detach()

    def _depends(self, result: Any) -> bool:
        """Return whether a result, or the first of several, depends on the picture."""
        first = result[0] if isinstance(result, tuple | list) and result else result
        return isinstance(first, Tensor) and first.requires_grad and self._ways.begun(first)

    def _call_to_record(
        self, func: Callable, args: tuple, kwargs: dict
    ) -> tuple[Call | None, bool]:
        """Return the call, if its kind is to be recorded, and whether it has any kind at all."""
        function = FUNCTIONS.get(func)
        call = None if function is None else function.bind(args, kwargs)
        if call is None or not can_be_ruled(call):
            return None, False
        return call if call.kind in self.kinds else None, True

    def _run(self, call: Call, func: Callable, args: tuple, kwargs: dict) -> Any:
        number = self._calls[call.kind]
        self._calls[call.kind] += 1
        if not (torch.is_grad_enabled() and any(t.requires_grad for t in call.tensors)):
            result = func(*args, **kwargs)  # does not depend on the picture
            if call.kind == "linear" and isinstance(result, Tensor):
                # A graph may start at its output, and a batch normalisation may read that.
                self._mark(result, self._operation(call, (), result.detach(), number))
            return result
        self.seen[call.kind] += 1
        if call.in_place:
            # The backward pass may need the old value, so the operation reads a copy of it;
            # writing the result back keeps every alias of the tensor valid.
            target, *others = call.tensors
            result = self._apply(call, number, target.clone(), *others)
            operation = made_by(result)
            target.copy_(result)
            if operation is not None and not operation.output.requires_grad:
                # Both hold the same values, so one copy is enough.
                operation.y = operation.output = target.detach()
                self._stored[address(target)].append(operation)
            return target
        return call.whole(self._apply(call, number, *call.tensors))

    def _record_canvas(self, func: Callable, args: tuple, kwargs: dict) -> None:
        """Record a constant that `func` is about to write into as an operation."""
        whole = canvas(func, args, kwargs) if "constant" in self.kinds else None
        if whole is not None and torch.is_grad_enabled():
            call = constant(whole, first_depending((*args[1:], *kwargs.values())))
            whole.copy_(self._apply(call, self._calls[call.kind], *call.tensors))
            self._calls[call.kind] += 1
            # A view, which torch takes for a leaf until somebody has asked for its node.
            _ = args[0].grad_fn

    def _apply(self, call: Call, number: int, *tensors: Tensor) -> Tensor:
        result = _Intercepted.apply(self, call, number, *tensors)
        operation = result.grad_fn.operation
        self._mark(result, operation)
        if call.kind in self._log:
            self._log[call.kind].append((operation, get_gradient_edge(result)))
        return result

    def reads_input(self, kind: str) -> bool:
        """Return whether a rule needs the input of operations of this kind."""
        return kind in self._reads_input

    def record(
        self, call: Call, number: int, given: Sequence[Tensor], inputs: tuple, output: Tensor
    ) -> Operation:
        """Record a call with the operand tensors `given`, while the call runs."""
        operation = self._operation(call, inputs, output, number)
        if call.kind == "constant":  # it takes nothing from what it stands beside
            return operation
        operation.depths = tuple(self._ways.depth(t) for t in given)
        operation.depth = max(operation.depths) + isinstance(operation, Linear)
        operation.reads_picture = any(self._ways.short(t) for t in given)
        if isinstance(operation, Linear) and operation.reads_picture and operation.depth == 1:
            operation.prefix = self._prefix(given[0])
        if call.kind == "product":
            operation.makers = tuple(maker(t) for t in given)
        if call.kind == "batch norm":
            self._fold(operation, given[0])
        storages = {address(t) for t in operation.x} | (
            {address(operation.y)} if call.function.keeps_output else set()
        )
        for storage in storages:
            self._stored[storage].append(operation)
        return operation

    def _prefix(self, read: Tensor) -> Prefix:
        """Return the path from the pixels to the tensor `read`, differentiated without rules."""
        assert self._source is not None
        edge, pixels = get_gradient_edge(read), self._source

        def back(cotangent: Tensor, again: bool) -> Tensor:
            self.rules, self.ledger, before = GRADIENT, Ledger(), (self.rules, self.ledger)
            try:
                (pulled,) = torch.autograd.grad(
                    [edge], [pixels], [cotangent],
                    retain_graph=True, create_graph=again, materialize_grads=True,
                )  # fmt: skip
            finally:
                self.rules, self.ledger = before
            return pulled

        return Prefix(back, pixels.detach(), read.detach())

    def _operation(
        self, call: Call, inputs: tuple[Tensor, ...], output: Tensor, number: int
    ) -> Operation:
        if not isinstance(call.function, LinearFunction):
            return Operation(call.kind, call.function, inputs, output, call.arguments, number)
        weight = call.arguments[call.function.weight]
        layer = self._layers.get(id(weight))
        return Linear(call.kind, call.function, inputs, output, call.arguments, number, layer=layer)

    def _fold(self, batch_norm: Operation, given: Tensor) -> None:
        linear = made_by(given)
        if not isinstance(linear, Linear) or (linear.type == "dense" and linear.y.ndim != 2):
            return
        if linear.fold(*affine(batch_norm.arguments)):
            batch_norm.makers = (linear,)

    @staticmethod
    def _mark(result: Tensor, operation: Operation) -> None:
        result._seewhy_made_by = (operation, result._version)  # type: ignore[attr-defined]

    def _preserve(self, func: Callable, args: tuple, kwargs: dict) -> None:
        """Copy the tensors that operations keep in a storage which `func` is about to modify."""
        written = [t for t in (*args[:1], kwargs.get("input"), kwargs.get("out"))
                   if isinstance(t, Tensor)]  # fmt: skip
        for target in written:
            linear, storage = made_by(target), address(target)
            rectifies = getattr(FUNCTIONS.get(func), "pure", None) is FUNCTIONS[torch.relu].pure
            for operation in self._stored.pop(storage, ()):
                # An in-place relu that is the only reader of z keeps z wherever z > 0, and
                # elsewhere the cotangent is zero, so no copy is needed.
                if operation is linear and operation.uses == 0 and rectifies:
                    self._stored[storage].append(operation)
                else:
                    operation.preserve(storage)


class _Intercepted(torch.autograd.Function):
    """An operation whose backward pass uses the rule that the tape has at that time."""

    @staticmethod
    def forward(ctx: Any, tape: Tape, call: Call, number: int, *tensors: Tensor) -> Tensor:
        no_graph = call.function.backward is not None and not _saved_tensors_are_hooked()
        with torch.set_grad_enabled(not no_graph):
            inputs = tuple(t.detach().requires_grad_(t.requires_grad) for t in tensors)
            output = call.compute(*inputs)
            if call.kind in ("batch norm", "norm"):
                keep_layout(output)
        if no_graph and not tape.reads_input(call.kind):
            inputs = ()
        ctx.tape = tape
        ctx.operation = tape.record(call, number, tensors, inputs, output)
        device = output.device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        return output.detach()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        operation: Operation = ctx.operation
        operation.ledger = ctx.tape.ledger
        rule = ctx.tape.rules.for_kind(operation.kind)
        with torch.autocast(*ctx.autocast):
            pulled = rule(operation, cotangents[0])
        return (None, None, None, *pulled)


def _saved_tensors_are_hooked() -> bool:
    """Return whether activation checkpointing counts the tensors saved for the backward pass.

    When it runs a block again, without the tape, it expects the same number of saved tensors.
    """
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None  # type: ignore[attr-defined]


def made_by(tensor: Tensor) -> Operation | None:
    """Return the recorded operation that produced the tensor, unless it was modified since."""
    operation, version = getattr(tensor, "_seewhy_made_by", (None, 0))
    return operation if operation is not None and tensor._version == version else None


def stands_for(new: Tensor, old: Tensor) -> None:
    """Mark a copy as the output of the operation that produced the original tensor."""
    operation = made_by(old)
    if operation is not None:
        Tape._mark(new, operation)


def _count_uses(args: tuple) -> None:
    for value in args:
        if isinstance(value, Tensor):
            operation = made_by(value)
            if operation is not None:
                operation.uses += 1
        elif isinstance(value, tuple | list):
            _count_uses(tuple(value))


def _writes(func: Callable, args: tuple, kwargs: Mapping[str, Any]) -> bool:
    """Return whether the call modifies one of its arguments in place."""
    name = getattr(func, "__name__", "").partition(".")[0]  # aten operations: "add_.Tensor"
    if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
        return True
    if kwargs.get("inplace") or kwargs.get("out") is not None:
        return True
    return any(value is True for value in args) and _has_inplace(func)


@cache
def _has_inplace(func: Callable) -> bool:
    try:
        return "inplace" in signature(func).parameters
    except (TypeError, ValueError):
        return False
