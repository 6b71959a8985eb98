"""What a tape records of a torch function, and how a call of one is taken apart."""

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
    """One recorded call: its inputs, its output, and the local graph between them.

    - `kind`: what rules go by, such as "linear" or "relu". `function`: what was called.
    - `inputs`, `output`: the ends of the local graph, if there is one.
    - `x`: the values of the inputs, `y`: of the output; they stay right when the network writes
      into its tensors afterwards.
    - `arguments`: all other arguments of the call by name.
    - `number`: the how-manieth call of its kind in the forward, from 0.
    - `layer`: the name of the module whose weight was used, where there is one.
    - `depth`: linear operations on the longest way from the pixels, itself included.
    - `reads_picture`: whether a way from the pixels passes no linear operation before it.
    - `ledger`: the books of the pull that is going on.
    - `prefix`: the way from the pixels, where no way passes a linear operation before it.
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
    makers: tuple["Operation | None", ...] = ()  # what put out each input, views aside
    uses: int = 0  # calls that were given the output
    ledger: Ledger = field(default_factory=Ledger)
    prefix: Prefix | None = None

    def __post_init__(self) -> None:
        self.x = tuple(t.detach() for t in self.inputs)
        self.y = self.output.detach()

    def gradient(self, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Autograd's own pull-back of `cotangent`, one entry per input (None: not wanted)."""
        if not self.output.requires_grad and self.function.backward is not None:
            return (self.function.backward(cotangent, self.y),)
        wanted = [t for t in self.inputs if t.requires_grad]
        # A network may differentiate inside its own forward, and that through this.
        second = torch.is_grad_enabled()
        pulled = iter(
            torch.autograd.grad(
                self.output, wanted, cotangent, retain_graph=True, create_graph=second
            )
        )
        return tuple(next(pulled) if t.requires_grad else None for t in self.inputs)

    def recomputed(self, compute: Compute, cotangent: Tensor) -> tuple[Tensor, ...]:
        """The pull-back of `cotangent` through another function of the same inputs."""
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_() for x in self.x]
            output = compute(*inputs)
        return torch.autograd.grad(output, inputs, cotangent, materialize_grads=True)

    def preserve(self, storage: int) -> None:
        """Copy what lies in a storage that the network is about to write into."""
        self.x = tuple(t.clone() if address(t) == storage else t for t in self.x)
        if self.function.keeps_output and address(self.y) == storage:
            self.y = self.y.clone()


@dataclass(frozen=True)
class Call:
    """A watched call taken apart: `compute(*tensors)` is its result, out of place.

    `whole` makes of that what the torch function returns, where it is more than a tensor.
    """

    kind: str
    function: "Function"
    compute: Compute
    tensors: tuple[Tensor, ...]
    arguments: Arguments
    in_place: bool
    whole: Callable[[Tensor], Any] = lambda result: result


def always(kind: str) -> Callable[[Arguments], str]:
    """Every call is of this kind."""
    return lambda arguments: kind


@dataclass(frozen=True)
class Function:
    """How to take a call of one torch function apart.

    - `pure` has the torch function's own parameters and works out of place.
    - `kind` tells from the arguments of what kind a call is; None: of none.
    - `operands`: the parameters that may depend on the picture; those that do are differentiated.
    - `held`: the same function with what it measures of its input held fixed (norms, divisors).
    - `keeps_output`: whether rules read the output, so that it has to outlive being written into.
    - `backward`: autograd's backward where it needs just (cotangent, output): no local graph is
      kept then, and the input only for rule sets that read it (`Rules.reads_input`).
    """

    pure: Compute
    kind: Callable[[Arguments], str | None]
    operands: tuple[str, ...] = ("input",)
    in_place: bool = False
    held: Compute | None = None
    keeps_output: bool = True
    backward: Callable[[Tensor, Tensor], Tensor] | None = None

    def bind(self, args: tuple, kwargs: Arguments) -> Call | None:
        """Split a call into tensors and a function of just those; None where it does not apply."""
        try:
            arguments = dict(_parameters(self.pure).bind(*args, **kwargs).arguments)
        except TypeError:  # a rare form of the call, such as with out=
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


_SIGNATURES: dict[Callable, Any] = {}


def _parameters(function: Callable) -> Any:
    if function not in _SIGNATURES:
        _SIGNATURES[function] = signature(function)
    return _SIGNATURES[function]


def address(tensor: Tensor) -> int:
    """Where the tensor's storage lies, so that aliases can be recognised."""
    return tensor.untyped_storage().data_ptr()


def depends(value: Any) -> bool:
    """Whether an argument depends on the picture."""
    return isinstance(value, Tensor) and value.requires_grad
