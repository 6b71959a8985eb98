"""The record of a torch function call, and how the arguments of a call are parsed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.prefix import Prefix

Compute = Callable[..., Tensor]
Arguments = Mapping[str, Any]


@dataclass(eq=False)
class Operation:
    """One recorded call: its inputs, its output, and the local autograd graph between them.

    - `kind`: selects the rule, such as "linear" or "relu". `function`: the function called.
    - `inputs`, `output`: the ends of the local graph, if there is one.
    - `x`: the values of the inputs, `y`: of the output; they remain valid if the network modifies
      its tensors in place afterwards.
    - `arguments`: all other arguments of the call by name.
    - `number`: zero-based index of this call among calls of the same kind.
    - `layer`: the name of the module whose weight was used, if any.
    - `depth`: linear operations on the longest path from the pixels, including this one.
    - `reads_picture`: whether some path from the pixels has no linear operation before this one.
    - `ledger`: the ledger of the current pull.
    - `prefix`: the path from the pixels, if no path has a linear operation before this one.
    """

    kind: str
    function: "Function"
    inputs: tuple[Tensor, ...]
    output: Tensor
    arguments: Arguments = field(default_factory=dict)
    number: int = 0
    layer: str | None = None
    depth: int = 0
    reads_picture: bool = False
    depths: tuple[int, ...] = ()  # of each input
    makers: tuple["Operation | None", ...] = ()  # the producer of each input, ignoring views
    uses: int = 0  # number of calls that read the output
    ledger: Ledger = field(default_factory=Ledger)
    prefix: Prefix | None = None

    def __post_init__(self) -> None:
        self.x = tuple(t.detach() for t in self.inputs)
        self.y = self.output.detach()

    def gradient(self, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Autograd's own vector-Jacobian product, per input (None: no gradient required)."""
        if not self.output.requires_grad and self.function.backward is not None:
            return (self.function.backward(cotangent, self.y),)
        wanted = [t for t in self.inputs if t.requires_grad]
        # A network may differentiate in its own forward pass, and its output may depend on that.
        twice_differentiable = torch.is_grad_enabled()
        pulled = iter(
            torch.autograd.grad(
                self.output,
                wanted,
                cotangent,
                retain_graph=True,
                create_graph=twice_differentiable,
            )
        )
        return tuple(next(pulled) if t.requires_grad else None for t in self.inputs)

    def recomputed(self, compute: Compute, cotangent: Tensor) -> tuple[Tensor, ...]:
        """The vector-Jacobian product of another function of the same inputs."""
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_() for x in self.x]
            output = compute(*inputs)
        return torch.autograd.grad(output, inputs, cotangent, materialize_grads=True)

    def preserve(self, storage: int) -> None:
        """Copy the kept tensors in a storage that the network is about to modify in place."""
        self.x = tuple(t.clone() if address(t) == storage else t for t in self.x)
        if self.function.keeps_output and address(self.y) == storage:
            self.y = self.y.clone()


@dataclass(frozen=True)
class Call:
    """A parsed call: `compute(*tensors)` is its result, computed out of place.

    `whole` turns that result into the return value of the torch function, if it is more than a
    tensor.
    """

    kind: str
    function: "Function"
    compute: Compute
    tensors: tuple[Tensor, ...]
    arguments: Arguments
    in_place: bool
    whole: Callable[[Tensor], Any] = lambda result: result


def always(kind: str) -> Callable[[Arguments], str]:
    """Return a function that assigns the same kind to every call."""
    return lambda arguments: kind


@dataclass(frozen=True)
class Function:
    """How to parse the calls of one torch function.

    - `pure` has the same parameters as the torch function and works out of place.
    - `kind` returns the kind of a call from its arguments, or None for calls not to record.
    - `operands`: the parameters that may depend on the picture; those that do are differentiated.
    - `held`: the same function with statistics of its input (norms, divisors) held constant.
    - `keeps_output`: whether rules read the output, which is then copied before in-place changes.
    - `backward`: the function's backward pass if it needs just (cotangent, output). No local graph
      is kept then, and the input is kept only for rule sets that read it (`Rules.reads_input`).
    """

    pure: Compute
    kind: Callable[[Arguments], str | None]
    operands: tuple[str, ...] = ("input",)
    in_place: bool = False
    held: Compute | None = None
    keeps_output: bool = True
    backward: Callable[[Tensor, Tensor], Tensor] | None = None

    def bind(self, args: tuple, kwargs: Arguments) -> Call | None:
        """Split a call into operand tensors and a function of these; None if it is not recorded."""
        try:
            arguments = dict(_parameters(self.pure).bind(*args, **kwargs).arguments)
        except TypeError:  # a rare signature, such as with out=
            return None
        kind = self.kind(arguments)
        if kind is None:
            return None
        in_place = self.in_place or bool(arguments.get("inplace", False))
        names = [n for n in self.operands if isinstance(arguments.get(n), Tensor)]
        if in_place:
            names = [names[0], *(n for n in names[1:] if arguments[n].requires_grad)]
        else:
            names = [n for n in names if arguments[n].requires_grad] or names[:1]
        rest = {n: value for n, value in arguments.items() if n not in names}

        def compute(*tensors: Tensor) -> Tensor:
            return self.pure(**dict(zip(names, tensors, strict=True)), **rest)

        return Call(kind, self, compute, tuple(arguments[n] for n in names), rest, in_place)


def can_be_ruled(call: Call) -> bool:
    """Return whether a rule can apply: to complex numbers only those for sums and lengths."""
    return call.kind in ("sum", "euclidean norm") or not any(t.is_complex() for t in call.tensors)


_SIGNATURES: dict[Callable, Any] = {}


def _parameters(function: Callable) -> Any:
    if function not in _SIGNATURES:
        _SIGNATURES[function] = signature(function)
    return _SIGNATURES[function]


def address(tensor: Tensor) -> int:
    """Return the memory address of the tensor's storage, which aliases share."""
    return tensor.untyped_storage().data_ptr()


def depends(value: Any) -> bool:
    """Return whether an argument is a tensor that depends on the picture."""
    return isinstance(value, Tensor) and value.requires_grad
