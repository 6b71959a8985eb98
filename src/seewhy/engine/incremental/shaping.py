"""Functions that rearrange channels but not the cells of the map."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.engine.incremental.local import Local, apply, covering
from seewhy.engine.incremental.tiles import Spans


def cat(func: Callable, tensors: Any, dim: int = 0, **kwargs: Any) -> Any:
    """Concatenate along any axis except those of the copies and of the cells."""
    xs = list(tensors)
    if kwargs or not all(isinstance(x, Local) and xs[0].alike(x) for x in xs):
        return NotImplemented
    x: Local = xs[0]
    if dim % x.ndim in _fixed(x):
        return NotImplemented
    spans = covering(xs)
    if not x.run.pays(func, spans):
        return NotImplemented
    base = x.run.once(apply, func, ([each.base for each in xs], dim), {})
    return x.made(base, func([each.on(spans) for each in xs], dim), spans=spans)


def divided(func: Callable, x: Any, sections: Any = None, dim: int = 0, **kwargs: Any) -> Any:
    """Divide the channels (`chunk` and `split`)."""
    named = [kwargs.pop(name) for name in _SECTIONS if name in kwargs]
    sections = named[0] if named else sections
    if kwargs or not isinstance(x, Local) or dim % x.ndim in _fixed(x):
        return NotImplemented
    bases = x.run.once(apply, func, (x.base, sections, dim), {})
    tiles = func(x.tiles, sections, dim)
    return type(tiles)(x.made(*pair) for pair in zip(bases, tiles, strict=True))


_SECTIONS = ("chunks", "split_size", "split_size_or_sections", "indices_or_sections")


def transpose(func: Callable, x: Any, dim0: int, dim1: int) -> Any:
    """Swap two axes of channels."""
    if not isinstance(x, Local) or {dim0 % x.ndim, dim1 % x.ndim} & _fixed(x):
        return NotImplemented
    return x.made(x.run.once(apply, func, (x.base, dim0, dim1), {}), func(x.tiles, dim0, dim1))


def permute(func: Callable, x: Any, *dims: Any, **kwargs: Any) -> Any:
    """Permute axes, as to channels last: copies stay first, and rows directly before columns."""
    if kwargs or not isinstance(x, Local):
        return NotImplemented
    order = [dim % x.ndim for dim in _flat(dims)]
    axis = order.index(x.axis)
    if order[0] != 0 or order[axis + 1 : axis + 2] != [x.axis + 1]:
        return NotImplemented
    base = x.run.once(apply, torch.permute, (x.base, order), {})
    return x.made(base, x.tiles.permute(order), axis=axis)


def reshape(func: Callable, x: Any, *shape: Any, **kwargs: Any) -> Any:
    """Reshape the axes of channels, which must all be before the cells or all after them."""
    if kwargs or not isinstance(x, Local) or isinstance(shape[0], torch.dtype):
        return NotImplemented  # `view(dtype)` reinterprets the bits
    sizes, height_and_width = _flat(shape), tuple(x.base.shape[x.axis : x.axis + 2])
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.numel() // -prod(sizes)
    if x.axis == x.ndim - 2 and x.axis > 1:
        axis = len(sizes) - 2
    elif x.axis == 1 and x.ndim > 3:
        axis = 1
    else:
        return NotImplemented
    kept = sizes[:1] == [len(x.tiles)] and tuple(sizes[axis : axis + 2]) == height_and_width
    if axis < 1 or not kept or prod(sizes) != x.numel():
        return NotImplemented
    base = x.run.once(apply, torch.reshape, (x.base, [1, *sizes[1:]]), {})
    sizes[axis : axis + 2] = x.tiles.shape[x.axis : x.axis + 2]
    return x.made(base, x.tiles.reshape(sizes), axis=axis)


def getitem(func: Callable, x: Any, index: Any) -> Any:
    """Index with slices of channels or single channels."""
    if not isinstance(x, Local):
        return NotImplemented
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(part is Ellipsis or type(part) in (slice, int) for part in parts):
        return NotImplemented
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (x.ndim - len(parts) + (at < len(parts)))
    if len(parts) != x.ndim or any(parts[dim] != slice(None) for dim in _fixed(x)):
        return NotImplemented
    axis = x.axis - sum(isinstance(part, int) for part in parts[: x.axis])
    base = x.run.once(apply, func, (x.base, tuple(parts)), {})
    return x.made(base, func(x.tiles, tuple(parts)), axis=axis)


def unsqueeze(func: Callable, x: Any, dim: int) -> Any:
    """Insert an axis of channels."""
    if not isinstance(x, Local):
        return NotImplemented
    at = dim % (x.ndim + 1)
    if at in (0, x.axis + 1):
        return NotImplemented
    base = x.run.once(apply, func, (x.base, at), {})
    return x.made(base, func(x.tiles, at), axis=x.axis + (at <= x.axis))


def pad(
    func: Callable, x: Any, pad: Any, mode: str = "constant", value: float | None = None
) -> Any:
    """Pad with a constant, around the map or along the channels."""
    edges = [int(edge) for edge in pad]
    if not isinstance(x, Local) or mode != "constant" or min(edges) < 0:
        return NotImplemented
    around = {x.ndim - 1 - i // 2: (edges[i], edges[i + 1]) for i in range(0, len(edges), 2)}
    if 0 in around:
        return NotImplemented
    base = x.run.once(apply, func, (x.base, edges, mode, value), {})
    spans: Spans = tuple(  # type: ignore[assignment]
        span.within(*around.get(x.axis + i, (0, 0))) for i, span in enumerate(x.region)
    )
    for dim in (x.axis, x.axis + 1):
        around.pop(dim, None)
    last = max((dim for dim, both in around.items() if any(both)), default=None)
    if last is None:
        return x.made(base, x.tiles.clone(), spans=spans)
    channels = [edge for dim in range(x.ndim - 1, 0, -1) for edge in around.get(dim, (0, 0))]
    return x.made(base, func(x.tiles, channels, mode, value), spans=spans)


def _fixed(x: Local) -> set[int]:
    """Return the axes of the copies and of the cells."""
    return {0, x.axis, x.axis + 1}


def _flat(sizes: tuple) -> list[Any]:
    """Return sizes or axes, given as separate arguments or as a sequence, as a list."""
    return list(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else list(sizes)


SHAPING: dict[Callable, Callable] = {
    **dict.fromkeys([torch.cat, torch.concat, torch.concatenate], cat),
    **dict.fromkeys([torch.chunk, Tensor.chunk, torch.split, Tensor.split], divided),
    **dict.fromkeys(
        [torch.transpose, Tensor.transpose, torch.swapaxes, Tensor.swapaxes], transpose
    ),
    **dict.fromkeys([torch.permute, Tensor.permute], permute),
    **dict.fromkeys([torch.reshape, Tensor.reshape, Tensor.view], reshape),
    Tensor.__getitem__: getitem,
    **dict.fromkeys([torch.unsqueeze, Tensor.unsqueeze], unsqueeze),
    F.pad: pad,
}
