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


# Fused attention, for example, exposes neither its matrix products nor its softmax.
OPENED: dict[Callable, Callable[..., Any]] = {
    F.glu: _glu,
    **{f: _without_dispatch(f) for f in (F.normalize, F.local_response_norm, F.softmin)},
    F.scaled_dot_product_attention: _attention,
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
    F.multi_head_attention_forward: _without_dispatch(F.multi_head_attention_forward),  # type: ignore[arg-type]
}
