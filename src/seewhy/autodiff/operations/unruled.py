"""Which torch functions need no rule; any other function without a rule can then be reported.

The gradient of a function that is linear in the tensors which depend on the picture propagates
relevance and multipliers correctly. The same holds for the relevance of functions that select
values (sorting, the median, a maximum with its indices). The two forward passes of DeepLIFT may
select differently: `autodiff.decisions` compares what they select.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from seewhy.autodiff.operations.base import depends

# Views, selections by position, sums and averages, resampling, and functions without an effect.
_LINEAR = frozenset({
    "view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "ravel", "permute",
    "transpose", "t", "adjoint", "swapaxes", "swapdims", "movedim", "moveaxis", "squeeze",
    "unsqueeze", "expand", "expand_as", "broadcast_to", "broadcast_tensors", "contiguous",
    "clone", "detach", "narrow", "select", "slice", "getitem", "chunk", "split", "tensor_split",
    "unbind", "split_with_sizes", "unsafe_split", "unsafe_chunk", "hsplit", "vsplit", "dsplit",
    "unfold", "im2col", "fold", "col2im", "diagonal", "diag", "diag_embed", "roll", "flip",
    "fliplr", "flipud", "rot90", "repeat", "tile", "repeat_interleave", "index_select",
    "gather", "take", "take_along_dim", "masked_select", "as_strided", "atleast_1d",
    "atleast_2d", "atleast_3d", "cat", "concat", "concatenate", "stack", "hstack", "vstack",
    "dstack", "column_stack", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "native_channel_shuffle", "pad", "constant_pad_nd", "interpolate", "upsample",
    "upsample_nearest", "upsample_bilinear", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "sum", "mean",
    "nansum", "nanmean", "cumsum", "diff", "trace", "tril", "triu", "to", "type", "type_as",
    "float", "double", "half", "bfloat16", "cpu", "cuda", "dropout", "dropout1d", "dropout2d",
    "dropout3d", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "neg", "negative",
    "positive", "real", "imag", "alias", "lift_fresh", "scatter", "scatter_add", "index_add",
    "index_copy", "index_fill", "index_put", "masked_fill", "masked_scatter", "where",
    "setitem", "copy", "fill", "zero", "requires_grad", "register_hook",
    "retain_grad", "grad", "as_subclass", "fft", "ifft", "fft2", "ifft2", "rfft", "irfft",
    "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn", "fftshift", "ifftshift", "hfft",
    "ihfft", "view_as_complex", "view_as_real", "complex", "conj", "resolve_conj",
    "resolve_neg", "max_unpool1d", "max_unpool2d", "max_unpool3d", "data", "mt", "h", "rename",
    "align_to", "refine_names", "nan_to_num", "fake_quantize_per_tensor_affine", "narrow_copy",
    "sum_to_size", "unsafe_view", "to_copy", "add", "sub", "subtract", "rsub", "radd",
})  # fmt: skip
# Linear in one factor, as long as the others do not depend on the picture.
_PRODUCTS = frozenset({
    "mul", "multiply", "div", "divide", "true_divide", "matmul", "mm", "bmm", "mv", "dot",
    "vdot", "inner", "outer", "kron", "einsum", "tensordot", "baddbmm", "addbmm", "addmm",
    "addmv", "addr", "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "conv_tbc", "convolution", "lerp", "bilinear",
    "chain_matmul", "multi_dot", "grid_sample", "grid_sampler", "grid_sampler_2d", "embedding",
    "rmatmul",
})  # fmt: skip
_SELECTING = frozenset({
    "sort", "argsort", "topk", "median", "nanmedian", "kthvalue", "mode", "max", "min", "amax",
    "amin", "maximum", "minimum", "fmax", "fmin", "aminmax", "cummax", "cummin", "max_pool1d",
    "max_pool2d", "max_pool3d", "max_pool1d_with_indices", "max_pool2d_with_indices",
    "max_pool3d_with_indices", "scatter_reduce", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d_with_indices",
    "fractional_max_pool2d", "quantile", "nanquantile",
})  # fmt: skip


def without_rule(func: Callable, args: tuple, kwargs: Mapping[str, Any]) -> str | None:
    """Return the name of a function that has no known rule and is not linear, else None."""
    name = name_of(func)
    reduce = kwargs.get("reduce")
    if reduce is not None:  # of scatter and scatter_reduce: products are not linear
        return None if reduce in ("add", "sum", "mean", "amax", "amin") else name
    if name in _LINEAR or name in _SELECTING:
        return None
    if name in _PRODUCTS and _depending((*args, *kwargs.values())) <= 1:
        return None
    return name


def _depending(values: tuple | list) -> int:
    """Count the arguments that depend on the picture; a list of tensors counts as one."""
    return sum(
        depends(v) or (isinstance(v, tuple | list) and _depending(v) > 0)
        for v in values
        if isinstance(v, Tensor | tuple | list)
    )


def selects(func: Callable) -> bool:
    """Return whether the function selects among the values of its input."""
    return name_of(func) in _SELECTING


def name_of(func: Callable) -> str:
    """Return a function's name without overload and underscores; for a property, its name."""
    name = getattr(func, "__name__", type(func).__name__)
    if name in ("__get__", "__set__"):
        name = getattr(getattr(func, "__self__", None), "__name__", name)
    return name.partition(".")[0].strip("_").lower().removeprefix("fft_")
