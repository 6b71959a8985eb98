"""Smooth activation functions ("activation"), softmax and max pooling.

A sigmoid is an activation too; `GATES` lists the activations that products treat as gates.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.autodiff.operations.base import Arguments, Call, Function, always

aten = torch.ops.aten


def _unary(function: Callable) -> Callable:
    def pure(input: Tensor, inplace: bool = False) -> Tensor:
        return function(input)

    return pure


def _gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(input, approximate=approximate)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    return F.leaky_relu(input, negative_slope)


def _elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    return F.elu(input, alpha)


def _celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    return F.celu(input, alpha)


def _rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    return F.leaky_relu(input, (lower + upper) / 2)


def _in_evaluation(arguments: Any) -> str | None:
    return None if arguments.get("training") else "activation"


def _softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    return F.softplus(input, beta, threshold)


def _softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    return torch.softmax(input, -1 if dim is None else dim, dtype=dtype)


def _max_pool(function: Callable) -> Callable:
    def pure(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        return function(input, kernel_size, stride, padding, dilation, ceil_mode)

    return pure


def _adaptive_max_pool(function: Callable) -> Callable:
    def pure(input: Tensor, output_size: Any, return_indices: bool = False) -> Tensor:
        return function(input, output_size)

    return pure


@dataclass(frozen=True)
class PoolWithIndices(Function):
    """A maximum pool that also returns where the maxima lie; `indices` finds these alone."""

    indices: Callable[..., Any] = F.max_pool2d

    def bind(self, args: tuple, kwargs: Arguments) -> Call | None:
        """Parse a call; the indices are computed beside the values."""
        call = super().bind(args, kwargs)
        if call is None:
            return None
        with torch.no_grad():
            _, indices = self.indices(call.tensors[0].detach(), **call.arguments)
        return replace(call, whole=lambda values: (values, indices))


def _without_indices(arguments: Any) -> str | None:
    return None if arguments.get("return_indices") else "max pool"


def _activations(pure: Callable, *functions: Callable) -> dict[Callable, Function]:
    return dict.fromkeys(functions, Function(pure, always("activation")))


def _activations_in_place(pure: Callable, *functions: Callable) -> dict[Callable, Function]:
    return dict.fromkeys(functions, Function(pure, always("activation"), in_place=True))


_SIGMOID, _HARDSIGMOID, _RSQRT = _unary(torch.sigmoid), _unary(F.hardsigmoid), _unary(torch.rsqrt)
_RECIPROCAL = _unary(torch.reciprocal)
GATES = frozenset([_SIGMOID, _HARDSIGMOID, _RSQRT, _RECIPROCAL])

POINTWISE_FUNCTIONS: dict[Callable, Function] = {
    **_activations(_SIGMOID, torch.sigmoid, Tensor.sigmoid, F.sigmoid, aten.sigmoid.default),
    **_activations_in_place(_SIGMOID, torch.sigmoid_, Tensor.sigmoid_),
    **_activations(_HARDSIGMOID, F.hardsigmoid, aten.hardsigmoid.default),
    **_activations(_RSQRT, torch.rsqrt, Tensor.rsqrt),
    **_activations(_RECIPROCAL, torch.reciprocal, Tensor.reciprocal),
    **_activations(_unary(torch.tanh), torch.tanh, Tensor.tanh, F.tanh, aten.tanh.default),
    **_activations_in_place(_unary(torch.tanh), torch.tanh_, Tensor.tanh_),
    **_activations(_gelu, F.gelu, aten.gelu.default),
    **_activations(_unary(F.silu), F.silu, aten.silu.default),
    **_activations(_unary(F.mish), F.mish),
    **_activations(_unary(F.hardswish), F.hardswish, aten.hardswish.default),
    **_activations(_unary(F.selu), F.selu, torch.selu),
    **_activations_in_place(_unary(F.selu), F.selu_, torch.selu_),
    **_activations(_elu, F.elu, aten.elu.default),
    **_activations_in_place(_elu, F.elu_),
    **_activations(_celu, F.celu, torch.celu),
    **_activations_in_place(_celu, F.celu_, torch.celu_),
    **_activations(_leaky_relu, F.leaky_relu, aten.leaky_relu.default),
    **_activations_in_place(_leaky_relu, F.leaky_relu_),
    **{
        function: Function(_rrelu, _in_evaluation, in_place=function in (F.rrelu_, torch.rrelu_))
        for function in (F.rrelu, torch.rrelu, F.rrelu_, torch.rrelu_)
    },
    **_activations(_softplus, F.softplus),
    **dict.fromkeys(
        [F.softmax, torch.softmax, Tensor.softmax, aten.softmax.int],
        Function(_softmax, always("softmax")),
    ),
    **{
        getattr(F, name): Function(_max_pool(getattr(F, name)), _without_indices)
        for name in ("max_pool1d", "max_pool2d", "max_pool3d")
    },
    torch.max_pool2d: Function(_max_pool(F.max_pool2d), _without_indices),
    **{
        getattr(F, name): Function(_adaptive_max_pool(getattr(F, name)), _without_indices)
        for name in ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
    },
    **{
        with_indices: PoolWithIndices(pure, always("max pool"), indices=with_indices)
        for kind, pure_of in (("max", _max_pool), ("adaptive_max", _adaptive_max_pool))
        for rank in (1, 2, 3)
        for with_indices, pure in [
            (
                getattr(F, f"{kind}_pool{rank}d_with_indices"),
                pure_of(getattr(F, f"{kind}_pool{rank}d")),
            )
        ]
    },
}
