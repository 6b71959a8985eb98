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


def _without_dispatch(function: FunctionType, **others: Any) -> Callable:
    """Copy a torch.nn.functional function without its check for `__torch_function__` overrides.

    With the check, the function would dispatch to the tape again and its body would never run.
    `others` replace functions that it calls.
    """
    checks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    globals_ = {**function.__globals__, **dict.fromkeys(checks, lambda *tensors: False), **others}
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


def _outer(input: Tensor, vec2: Tensor) -> Tensor:
    return input[:, None] * vec2


def _lp_pool(average: Callable, rank: int) -> Callable:
    def pool(
        input: Tensor,
        norm_type: float,
        kernel_size: Any,
        stride: Any = None,
        ceil_mode: bool = False,
    ) -> Tensor:
        """Compute (sum of x^p)^(1/p), without torch's sign(s) relu(|s|) for the sum s."""
        step = {} if stride is None else {"stride": stride}
        pooled = average(input.pow(norm_type), kernel_size, **step, padding=0, ceil_mode=ceil_mode)
        size = math.prod(kernel_size) if isinstance(kernel_size, tuple) else kernel_size**rank
        return (pooled * size).pow(1 / norm_type)

    return pool


def _norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    return _vector_norm(input, p, dim, keepdim, dtype=dtype)


def _vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Compute (sum of |x|^p)^(1/p); the length, p = 2, has a kind of its own."""
    dims = tuple(range(x.ndim)) if dim is None else dim
    if ord == 2 or not isinstance(ord, int | float) or ord <= 0:
        return NotImplemented
    size = (x if dtype is None else x.to(dtype)).abs()
    if ord == math.inf:
        return size.amax(dims, keepdim)
    return size.sum(dims, keepdim) if ord == 1 else (size**ord).sum(dims, keepdim) ** (1 / ord)


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    both = torch.broadcast_tensors(x1, x2)
    a, b = (x / x.norm(dim=dim, keepdim=True).clamp_min(eps) for x in both)
    return (a * b).sum(dim)


def _pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    return torch.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim)


def _multi_head_attention(query: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Run the body of the torch function, with the tokens of its last layer apart from pictures.

    It has tokens first and folds the pictures into that axis before the output projection, where
    it could no longer be told which picture a constant belongs to.
    """

    def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        folded = query.ndim == 3 and input.ndim == 2 and len(input) == len(query) * query.shape[1]
        apart = input.unflatten(0, (len(query), -1)) if folded else input
        output = F.linear(apart, weight, bias)
        return output.flatten(0, 1) if folded else output

    return _without_dispatch(F.multi_head_attention_forward, linear=linear)(query, *args, **kwargs)  # type: ignore[arg-type]


_COMPOSED = (F.normalize, F.local_response_norm, F.softmin)

# Fused attention, for example, exposes neither its matrix products nor its softmax. What returns
# NotImplemented is left as it is.
OPENED: dict[Callable, Callable[..., Any]] = {
    F.glu: _glu,
    F.lp_pool1d: _lp_pool(F.avg_pool1d, 1),
    F.lp_pool2d: _lp_pool(F.avg_pool2d, 2),
    F.lp_pool3d: _lp_pool(F.avg_pool3d, 3),
    **dict.fromkeys([torch.outer, Tensor.outer, torch.ger, Tensor.ger], _outer),
    **dict.fromkeys([torch.norm, Tensor.norm], _norm),
    torch.linalg.vector_norm: _vector_norm,
    F.cosine_similarity: _cosine_similarity,
    F.pairwise_distance: _pairwise_distance,
    **{f: _without_dispatch(f) for f in _COMPOSED},
    **dict.fromkeys([torch.addcmul, Tensor.addcmul], _addcmul),
    **dict.fromkeys([torch.addcdiv, Tensor.addcdiv], _addcdiv),
    **dict.fromkeys([torch.baddbmm, Tensor.baddbmm], _baddbmm),
    **dict.fromkeys([torch.logsumexp, Tensor.logsumexp], _logsumexp),
    F.scaled_dot_product_attention: _attention,
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
    F.multi_head_attention_forward: _multi_head_attention,
}
