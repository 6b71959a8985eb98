"""Normalisations: "batch norm" is affine in eval mode; "norm" uses statistics of its input."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.autodiff.operations.base import Arguments, Function, always

aten = torch.ops.aten


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _aten_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _in_evaluation(arguments: Arguments) -> str | None:
    fixed = not arguments.get("training") and arguments["running_var"] is not None
    return "batch norm" if fixed else None


def affine(arguments: Arguments) -> tuple[Tensor, Tensor]:
    """Return (scale, shift) of a batch normalisation y = scale * x + shift, each [channels]."""
    mean, var = arguments["running_mean"], arguments["running_var"]
    weight, bias = arguments.get("weight"), arguments.get("bias")
    scale = (var + arguments.get("eps", 1e-5)).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def _aten_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def _layer_norm_held(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    over = tuple(range(-len(normalized_shape), 0))
    return _scaled(standardised(input, over, eps), weight, bias)


def _rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    return F.rms_norm(input, normalized_shape, weight, eps)


def _rms_norm_held(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    over = tuple(range(-len(normalized_shape), 0))
    square = input.detach().square().mean(over, keepdim=True)
    smallest = torch.finfo(input.dtype).eps if eps is None else eps
    return _scaled(input * (square + smallest).rsqrt(), weight, None)


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    return F.group_norm(input, num_groups, weight, bias, eps)


def _group_norm_held(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    groups = input.reshape(len(input), num_groups, -1)
    normal = standardised(groups, (-1,), eps).reshape(input.shape)
    return _scaled(normal, *_over_channels(input, weight, bias))


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    return F.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def _instance_norm_held(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return _batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return _group_norm_held(input, input.shape[1], weight, bias, eps)


def standardised(x: Tensor, over: tuple[int, ...], eps: float) -> Tensor:
    """Compute (x - mean) / std, with the std held constant for differentiation."""
    centred = x - x.mean(over, keepdim=True)
    variance = centred.detach().square().mean(over, keepdim=True)
    return centred * (variance + eps).rsqrt()


def _over_channels(input: Tensor, *values: Tensor | None) -> list[Tensor | None]:
    shape = (-1, *[1] * (input.ndim - 2))
    return [None if v is None else v.view(shape) for v in values]


def _scaled(normal: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    normal = normal if weight is None else normal * weight
    return normal if bias is None else normal + bias


def _norm(pure: Callable, held: Callable) -> Any:
    return Function(pure, always("norm"), held=held)


# The output of a batch normalisation is not kept, because no rule reads it.
NORM_FUNCTIONS: dict[Callable, Function] = {
    F.batch_norm: Function(_batch_norm, _in_evaluation, keeps_output=False),
    aten.batch_norm.default: Function(_aten_batch_norm, _in_evaluation, keeps_output=False),
    F.layer_norm: _norm(_layer_norm, _layer_norm_held),
    aten.layer_norm.default: _norm(_aten_layer_norm, _layer_norm_held),
    F.rms_norm: _norm(_rms_norm, _rms_norm_held),
    F.group_norm: _norm(_group_norm, _group_norm_held),
    aten.group_norm.default: _norm(_group_norm, _group_norm_held),
    F.instance_norm: _norm(_instance_norm, _instance_norm_held),
}
