"""Sums over the whole map: the sum of the base plus the difference in the tiles."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.engine.incremental.local import Local, apply
from seewhy.engine.incremental.tiles import cut


def total(func: Callable, x: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """Compute the mean or the sum over all rows and columns."""
    if kwargs or not isinstance(x, Local) or isinstance(dim, int | None):
        return NotImplemented
    axes = [x.axis, x.axis + 1]
    if sorted(axis % x.ndim for axis in dim) != axes:
        return NotImplemented
    # Booleans cannot be subtracted, and a sum that contains an infinity cannot be corrected.
    if x.tiles.dtype == torch.bool or not x.run.once(_all_finite, x.base):
        return NotImplemented
    x.run.note(func, 0.0)
    base = x.run.once(apply, func, (x.base, axes, keepdim), {})
    difference = (x.tiles - cut(x.base, x.axis, x.region)).sum(axes, keepdim=keepdim)
    rows, columns = x.region
    averaged = func in (torch.mean, Tensor.mean)
    return base + (difference / (rows.length * columns.length) if averaged else difference)


def _all_finite(base: Tensor) -> bool:
    return bool(base.isfinite().all())


def adaptive_average_pool(func: Callable, x: Any, output_size: Any) -> Any:
    """Pool to a single cell, or to the same size."""
    if not isinstance(x, Local) or x.axis != x.ndim - 2:
        return NotImplemented
    sizes = [output_size] * 2 if isinstance(output_size, int) else list(output_size)
    whole = [span.length for span in x.region]
    if all(size is None or size == length for size, length in zip(sizes, whole, strict=True)):
        return x.made(x.base, x.tiles.clone())
    if sizes != [1, 1]:
        return NotImplemented
    return total(torch.mean, x, (-2, -1), keepdim=True)


REDUCING: dict[Callable, Callable] = {
    **dict.fromkeys([torch.mean, Tensor.mean, torch.sum, Tensor.sum], total),
    F.adaptive_avg_pool2d: adaptive_average_pool,
}
