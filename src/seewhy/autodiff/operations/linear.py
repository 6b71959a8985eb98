"""Linear operations: convolutions, transposed convolutions, dense layers, products with a weight.

Their kind is "linear". A batch normalisation that directly follows such an operation is folded into
its record: weight, bias and output are then those of the pair. The network is not changed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.operations.base import Arguments, Compute, Function, Operation, depends

aten = torch.ops.aten


@dataclass(frozen=True)
class LinearFunction(Function):
    """A linear torch function; `weight` and `bias` are the names of its parameters.

    `output_axis`: the axis of the weight that indexes outputs. If `grouped_inputs`, it indexes the
    outputs of one group: transposed convolutions store all inputs but one group's outputs.
    """

    type: str = "dense"  # or "convolution"
    weight: str = "weight"
    bias: str | None = "bias"
    output_axis: int = 0
    grouped_inputs: bool = False


@dataclass(eq=False)
class Linear(Operation):
    """A recorded linear operation, which can also be evaluated with other weights.

    `x` holds a single input; `z`, `weight` and `bias` include the batch normalisation if `folded`.
    """

    scale: Tensor | None = None  # per output channel, of the batch normalisation that follows
    shift: Tensor | None = None
    folded: bool = False  # whether that batch normalisation is currently included
    ignores_bias: bool = False  # whether the rule that runs gives the bias no relevance
    read: bool = False  # whether the relevance of its output is needed later
    _sent: tuple[Ledger, Tensor] | None = None

    @property
    def type(self) -> str:
        """ "convolution" or "dense"."""
        return self._function.type

    @property
    def input(self) -> Tensor:
        """The values of the input."""
        return self.x[0]

    @cached_property
    def _function(self) -> LinearFunction:
        assert isinstance(self.function, LinearFunction)
        return self.function

    def fold(self, scale: Tensor, shift: Tensor) -> bool:
        """Attach the batch normalisation y = scale * z + shift that reads the output.

        Only the first one is accepted; returns whether it was.
        """
        if self.scale is not None:
            return False
        self.scale, self.shift = scale.detach(), shift.detach()
        return True

    def send(self, ledger: Ledger, cotangent: Tensor) -> None:
        """Receive the cotangent of the attached batch normalisation's output."""
        self._sent = ledger, cotangent

    def parts(self, cotangent: Tensor, ledger: Ledger) -> Iterator[Tensor]:
        """Yield the cotangent from the batch normalisation, then the rest from other readers.

        While the first one is processed, `weight`, `bias` and `z` are those of the folded pair.
        """
        if self._sent is None or self._sent[0] is not ledger:
            yield cotangent
            return
        sent = self._sent[1]
        self.folded = True
        yield sent
        self.folded = False
        if sent.data_ptr() != cotangent.data_ptr():
            yield cotangent - sent
        if not self.read:
            self._sent = None

    def restrict(self, mask: Tensor, cotangent: Tensor, restricted: Tensor) -> None:
        """Apply the mask that multiplied the output's cotangent to the folded cotangent, too.

        `restricted` is the masked cotangent.
        """
        if self._sent is not None:
            ledger, sent = self._sent
            alone = sent.data_ptr() == cotangent.data_ptr()
            self._sent = ledger, restricted if alone else sent * mask

    def relevance(self, cotangent: Tensor, ledger: Ledger) -> Tensor:
        """Return the relevance R = z * g of the output."""
        return sum((self.z * part for part in self.parts(cotangent, ledger)), torch.tensor(0.0))

    @property
    def z(self) -> Tensor:
        """The values of the output, after the batch normalisation if it is folded."""
        if not self.folded:
            return self.y
        assert self.scale is not None and self.shift is not None
        return self.y * self.over_channels(self.scale) + self.over_channels(self.shift)

    def total(self, z: Tensor) -> Tensor:
        """Return what relevance is proportional to: `z`, without a bias that is ignored."""
        if not self.ignores_bias or self._bias is None:
            return z
        return z - self.over_channels(self._bias)

    @property
    def weight(self) -> Tensor:
        """The weight, scaled by the batch normalisation if it is folded."""
        weight = self.arguments[self._function.weight].detach()
        if not self.folded:
            return weight
        assert self.scale is not None
        return weight * self._over_outputs(self.scale, weight)

    @property
    def bias(self) -> Tensor | None:
        """The bias, [outputs], with the folded batch normalisation; None if none is in use."""
        return None if self.ignores_bias else self._bias

    @property
    def _bias(self) -> Tensor | None:
        name = self._function.bias
        bias = self.arguments.get(name) if name else None
        bias = None if bias is None else bias.detach()
        if not self.folded:
            return bias
        assert self.scale is not None and self.shift is not None
        return self.shift if bias is None else bias * self.scale + self.shift

    @property
    def channel_axis(self) -> int:
        """The axis of the output that indexes channels."""
        spatial = self.type == "convolution"
        return self.y.ndim - (self.arguments[self._function.weight].ndim - 1) if spatial else -1

    def over_channels(self, values: Tensor) -> Tensor:
        """Reshape values [outputs] so that they broadcast with the output."""
        after = self.y.ndim - 1 - self.channel_axis % self.y.ndim
        return values.view(-1, *[1] * after)

    def transposed(self, s: Tensor) -> Tensor:
        """Compute W^T s, by a backward pass through the local graph."""
        (pulled,) = self.gradient(
            s if not self.folded else s * self.over_channels(self.scale)  # type: ignore[arg-type]
        )
        assert pulled is not None
        return pulled

    def with_weights(
        self, weight: Tensor, bias: Tensor | None = None, input: Tensor | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the output for other weights (and input), and the function s -> W^T s for them."""
        function = self._function
        arguments: dict[str, Any] = {**self.arguments, function.weight: weight}
        if function.bias:
            arguments[function.bias] = bias
        with torch.enable_grad():
            x = (self.input if input is None else input).detach().requires_grad_()
            output = function.pure(**{function.operands[0]: x}, **arguments)
            if bias is not None and not function.bias:  # a matrix product with a folded norm
                output = output + self.over_channels(bias)

        def transposed(s: Tensor) -> Tensor:
            return torch.autograd.grad(output, x, s, retain_graph=True)[0]

        return output.detach(), transposed

    def credit(self, bias: Tensor | None, s: Tensor) -> None:
        """Record the bias's share, bias * s, in the ledger; `s` has the shape of the output."""
        if bias is not None:
            axis = self.channel_axis % s.ndim
            self.ledger.credit(s.movedim(axis, -1) @ bias.to(s))

    def _over_outputs(self, values: Tensor, weight: Tensor) -> Tensor:
        """Reshape values [outputs] so that they broadcast with the weight."""
        function = self._function
        if not function.grouped_inputs:
            shape = [1] * weight.ndim
            shape[function.output_axis] = -1
            return values.view(shape)
        groups = self.arguments.get("groups", 1)
        of_input = values.view(groups, -1).repeat_interleave(weight.shape[0] // groups, 0)
        return of_input.view(weight.shape[0], -1, *[1] * (weight.ndim - 2))


def _fixed_weight(weight: str) -> Callable[[Arguments], str | None]:
    """Return the kind "linear" unless the weight depends on the picture: that is a product."""
    return lambda arguments: None if depends(arguments.get(weight)) else "linear"


def _convolution(function: Callable) -> Compute:
    def convolution(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        return function(input, weight, bias, stride, padding, dilation, groups)

    return convolution


def _transposed_convolution(function: Callable) -> Compute:
    def transposed_convolution(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        return function(input, weight, bias, stride, padding, output_padding, groups, dilation)

    return transposed_convolution


def _dense(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(input, weight, bias)


def _matmul(input: Tensor, other: Tensor) -> Tensor:
    return torch.matmul(input, other)


def _addmm(
    input: Tensor | None, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    if input is None:
        return torch.mm(mat1, mat2)
    return torch.addmm(input, mat1, mat2, beta=beta, alpha=alpha)


def _addmm_kind(arguments: Arguments) -> str | None:
    bias, weight = arguments["input"], arguments["mat2"]
    plain = arguments.get("beta", 1) == 1 and arguments.get("alpha", 1) == 1
    fixed = not depends(bias) and not depends(weight)
    return "linear" if plain and fixed and bias.shape == weight.shape[1:] else None


def _convolutions() -> dict[Callable, Function]:
    functions: dict[Callable, Function] = {}
    for rank in (1, 2, 3):
        plain, transposed = getattr(F, f"conv{rank}d"), getattr(F, f"conv_transpose{rank}d")
        functions[plain] = functions[getattr(aten, f"conv{rank}d").default] = LinearFunction(
            _convolution(plain), _fixed_weight("weight"), type="convolution"
        )
        functions[transposed] = LinearFunction(
            _transposed_convolution(transposed),
            _fixed_weight("weight"),
            type="convolution",
            grouped_inputs=True,
        )
    return functions


_LINEAR = LinearFunction(_dense, _fixed_weight("weight"))
_ADDMM = LinearFunction(
    _addmm, _addmm_kind, operands=("mat1",), weight="mat2", bias="input", output_axis=1
)
# The weight is on the right; if both factors depend on the picture it is a "product" instead.
MATMUL = LinearFunction(
    _matmul,
    lambda arguments: "linear" if arguments["other"].ndim == 2 else None,
    weight="other",
    bias=None,
    output_axis=1,
)

LINEAR_FUNCTIONS: dict[Callable, Function] = {
    **_convolutions(),
    F.linear: _LINEAR,
    aten.linear.default: _LINEAR,
    torch.addmm: _ADDMM,
    aten.addmm.default: _ADDMM,
}
