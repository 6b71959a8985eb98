"""Composite torch functions, decomposed so that a tape can record their single operations."""

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute softmax(query key^T / sqrt(d) + mask) value, as the fused function does."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query * scale, key.transpose(-2, -1))
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is None:
        return torch.matmul(torch.softmax(scores, -1), value)
    if attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    else:
        scores = scores + attn_mask
    # A query whose keys are all masked gets zero instead of NaN.
    all_masked = (scores.detach() == -math.inf).all(-1, keepdim=True)
    attended = torch.matmul(torch.softmax(scores.masked_fill(all_masked, 0), -1), value)
    return attended.masked_fill(all_masked, 0)


def _without_dispatch(function: FunctionType) -> Callable:
    """Copy a torch.nn.functional function without its check for `__torch_function__` overrides.

    With the check, the function would dispatch to the tape again and its body would never run.
    """
    checks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    globals_ = {**function.__globals__, **dict.fromkeys(checks, lambda *tensors: False)}
    copy = FunctionType(
        function.__code__, globals_, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _glu(input: Tensor, dim: int = -1) -> Tensor:
    values, gates = input.chunk(2, dim)
    return values * gates.sigmoid()


def _addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    return input + value * (tensor1 * tensor2)


def _addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    return input + value * (tensor1 / tensor2)


def _baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    product = alpha * torch.bmm(batch1, batch2)
    return product if beta == 0 else beta * input + product


def _logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """Compute log sum exp x as x_k - (log softmax x)_k, which holds for any k; here the first."""
    dims = [dim] if isinstance(dim, int) else list(dim)
    dims = [d % input.ndim for d in dims]
    flat = input.movedim(dims, list(range(-len(dims), 0))).flatten(-len(dims))
    summed = (flat - torch.log_softmax(flat, -1))[..., 0]
    for d in sorted(dims) if keepdim else ():
        summed = summed.unsqueeze(d)
    return summed


_COMPOSED = (F.normalize, F.local_response_norm, F.softmin, F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)

# Fused attention, for example, exposes neither its matrix products nor its softmax.
OPENED: dict[Callable, Callable[..., Any]] = {
    F.glu: _glu,
    **{f: _without_dispatch(f) for f in _COMPOSED},
    **dict.fromkeys([torch.addcmul, Tensor.addcmul], _addcmul),
    **dict.fromkeys([torch.addcdiv, Tensor.addcdiv], _addcdiv),
    **dict.fromkeys([torch.baddbmm, Tensor.baddbmm], _baddbmm),
    **dict.fromkeys([torch.logsumexp, Tensor.logsumexp], _logsumexp),
    F.scaled_dot_product_attention: _attention,
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
    F.multi_head_attention_forward: _without_dispatch(F.multi_head_attention_forward),  # type: ignore[arg-type]
}
