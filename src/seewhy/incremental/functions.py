"""What torch functions do to local activations, for those of which the reach is known."""

import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.incremental.local import Local, whole_of
from seewhy.incremental.windows import reach

# The share of a map from which the whole of it is computed: tiles overlap then, and are gathered.
DENSE = 0.45


def _key(function: Callable, args: Sequence[Any], kwargs: dict) -> tuple[Hashable, ...]:
    named = sorted(kwargs.items())
    return (function, *(_mark(a) for a in args), *((k, _mark(v)) for k, v in named))


def _mark(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return ("tensor", id(value))
    return repr(value)


def each(function: Callable) -> Callable:
    """What works on every place alike: done to the base, and to the tiles."""

    def handler(x: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs = {k: v for k, v in kwargs.items() if k != "inplace"}
        if not isinstance(x, Local) or x.flat or _holds_local((args, kwargs)):
            return NotImplemented
        key, kept = _key(function, args, kwargs), (args, kwargs)
        base = x.base.after(key, kept, lambda: function(x.base.value, *args, **kwargs))
        return Local(base, function(x.tiles, *args, **kwargs), x.top, x.left)

    return handler


def in_place(handler: Callable, function: Callable) -> Callable:
    """The same, put in the place of its first argument; `function` does it out of place."""

    def changed(x: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Local) or x.flat:
            return NotImplemented
        result = handler(x, *args, **kwargs)
        if isinstance(result, Local):
            x.become(result.base, result.tiles, result.top, result.left)
        else:
            x.become_whole(function(x.whole(), *(whole_of(a) for a in args), **kwargs))
        return x

    return changed


def maybe_in_place(function: Callable, position: int) -> Callable:
    """As `each`, in place if the argument `inplace`, the how-manieth it is, says so."""
    handler = each(function)
    changing = in_place(handler, function)

    def chosen(x: Any, *args: Any, **kwargs: Any) -> Any:
        given = args[position - 1] if len(args) >= position else kwargs.get("inplace", False)
        rest = args[: position - 1]
        return (changing if given else handler)(x, *rest, **kwargs)

    return chosen


def both(function: Callable) -> Callable:
    """A function of two activations, or of one and a constant that is the same at all places."""
    alone = each(function)

    def handler(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(a, Local) and isinstance(b, Local):
            if a.flat or b.flat or a.shape[2:] != b.shape[2:]:
                return NotImplemented
            base = a.base.after(
                (*_key(function, args, kwargs), id(b.base)), (b.base, args, kwargs),
                lambda: function(a.base.value, b.base.value, *args, **kwargs),
            )  # fmt: skip
            top, left, (one, other) = aligned([a, b])
            return Local(base, function(one, other, *args, **kwargs), top, left)
        if isinstance(a, Local) and _everywhere(b, a):
            return alone(a, b, *args, **kwargs)
        if isinstance(b, Local) and _everywhere(a, b):
            return (
                each(lambda x, y: function(y, x))(b, a) if _swapped_is_cheap(a) else NotImplemented
            )
        return NotImplemented

    return handler


def _swapped_is_cheap(constant: Any) -> bool:
    return isinstance(constant, int | float)


def _everywhere(constant: Any, x: Local) -> bool:
    """Whether a constant says the same for every place of every picture."""
    if isinstance(constant, int | float):
        return True
    if not isinstance(constant, Tensor) or isinstance(constant, Local):
        return False
    shape = (1,) * (4 - constant.ndim) + tuple(constant.shape)
    return len(shape) == 4 and shape[0] == shape[2] == shape[3] == 1 and shape[1] in (1, x.shape[1])


def _holds_local(value: Any) -> bool:
    if isinstance(value, Local):
        return True
    if isinstance(value, tuple | list):
        return any(_holds_local(v) for v in value)
    return isinstance(value, dict) and any(_holds_local(v) for v in value.values())


def aligned(parts: Sequence[Local]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Top, left and tiles of one size, grown to where any of the activations differs."""
    first = parts[0]
    if all(
        p.tile_size == first.tile_size
        and (p.top is first.top or bool((p.top == first.top).all()))
        and (p.left is first.left or bool((p.left == first.left).all()))
        for p in parts
    ):
        return first.top, first.left, [p.tiles for p in parts]
    starts: list[Tensor] = []
    lengths: list[int] = []
    for axis in (0, 1):
        places = [(p.top, p.left)[axis] for p in parts]
        start = torch.stack(places).amin(0)
        ends = [s + p.tile_size[axis] for s, p in zip(places, parts, strict=True)]
        length = int((torch.stack(ends).amax(0) - start).max())
        starts.append(start.clamp(max=first.base.size[axis] - length))
        lengths.append(length)
    size = (lengths[0], lengths[1])
    top, left = starts
    return top, left, [p.extended(top, left, size) for p in parts]


def sliding(
    x: Local, function: Callable[[Tensor], Tensor], key: Hashable, kept: Any,
    whole: Callable[[Tensor], Tensor], window: Sequence[int], stride: Sequence[int],
    pad: Sequence[int], dilation: Sequence[int], fill: float,
) -> Any:  # fmt: skip
    """What slides over the map: `function` without padding on regions, `whole` on the base."""
    base = x.base.after(key, kept, lambda: whole(x.base.value))
    rows, columns = (
        reach(place, tile, size, out, w, s, p, d)
        for place, tile, size, out, w, s, p, d in zip(
            (x.top, x.left), x.tile_size, x.base.size, base.size, window, stride, pad, dilation,
            strict=True,
        )
    )  # fmt: skip
    if rows.count * columns.count > DENSE * base.size[0] * base.size[1]:
        return NotImplemented
    padding = (columns.pad_before, columns.pad_after, rows.pad_before, rows.pad_after)
    region = x.extended(rows.first, columns.first, (rows.length, columns.length), padding, fill)
    if (rows.read, columns.read) != (rows.length, columns.length):
        region = region[
            :, :, rows.skip : rows.skip + rows.read, columns.skip : columns.skip + columns.read
        ]
    return Local(base, function(region), rows.start, columns.start)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    numbers = [int(v) for v in value]
    return (numbers[0], numbers[-1])


def convolution(
    x: Any, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Two-dimensional convolution, with zeros around."""
    if not isinstance(x, Local) or x.flat or _holds_local((weight, bias)):
        return NotImplemented
    window, stride, dilation = tuple(weight.shape[2:]), _pair(stride), _pair(dilation)
    if isinstance(padding, str):
        spans = [d * (w - 1) for d, w in zip(dilation, window, strict=True)]
        if padding == "same" and any(s % 2 for s in spans):
            return NotImplemented
        pad = (spans[0] // 2, spans[1] // 2) if padding == "same" else (0, 0)
    else:
        pad = _pair(padding)
    key = ("convolution", id(weight), id(bias), stride, pad, dilation, groups)

    def run(region: Tensor, pad: tuple[int, int] = (0, 0)) -> Tensor:
        return F.conv2d(region, weight, bias, stride, pad, dilation, groups)

    if window == stride == (1, 1) and pad == (0, 0):
        base = x.base.after(key, (weight, bias), lambda: run(x.base.value))
        return Local(base, run(x.tiles), x.top, x.left)
    return sliding(
        x, run, key, (weight, bias), lambda value: run(value, pad), window, stride, pad, dilation,
        0.0,
    )  # fmt: skip


def max_pool(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """Two-dimensional maximum pool; what lies outside is never the maximum."""
    if not isinstance(x, Local) or x.flat or return_indices:
        return NotImplemented
    window, pad, dilation = _pair(kernel_size), _pair(padding), _pair(dilation)
    stride = _pair(stride) if stride else window
    key = ("max pool", window, stride, pad, dilation, ceil_mode)

    def whole(value: Tensor) -> Tensor:
        return F.max_pool2d(value, window, stride, pad, dilation, ceil_mode)

    def run(region: Tensor) -> Tensor:
        return F.max_pool2d(region, window, stride, 0, dilation)

    return sliding(x, run, key, None, whole, window, stride, pad, dilation, -torch.inf)


def average_pool(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """Two-dimensional average pool, where every window has the same divisor."""
    window, pad = _pair(kernel_size), _pair(padding)
    uneven = ceil_mode or (any(pad) and not count_include_pad and divisor_override is None)
    if not isinstance(x, Local) or x.flat or uneven:
        return NotImplemented
    stride = _pair(stride) if stride else window
    key = ("average pool", window, stride, pad, divisor_override)

    def run(region: Tensor, pad: tuple[int, int] = (0, 0)) -> Tensor:
        return F.avg_pool2d(region, window, stride, pad, divisor_override=divisor_override)

    return sliding(
        x, run, key, None, lambda value: run(value, pad), window, stride, pad, (1, 1), 0.0
    )


def batch_norm(
    x: Any, mean: Tensor, var: Tensor, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """In evaluation mode: affine, channel by channel."""
    if training or mean is None:
        return NotImplemented
    return each(F.batch_norm)(x, mean, var, weight, bias, False, momentum, eps)


def means(x: Local) -> Tensor:
    """The mean over rows and columns, [edits, channels]: the base's, and what the tiles change."""
    height, width = x.base.size
    before = x.base.region(x.top, x.left, x.tile_size)
    change = (x.tiles - before).sum((2, 3)) / (height * width)
    return x.base.value.mean((2, 3)) + change


def mean(x: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """Over rows and columns."""
    if not isinstance(x, Local) or x.flat or kwargs or not isinstance(dim, tuple | list):
        return NotImplemented
    if sorted(d % 4 for d in dim) != [2, 3]:
        return NotImplemented
    return means(x)[:, :, None, None] if keepdim else means(x)


def adaptive_average(x: Any, output_size: Any) -> Any:
    """To one cell, or to as many as there are."""
    if not isinstance(x, Local) or x.flat:
        return NotImplemented
    size = _pair(output_size) if None not in _listed(output_size) else None
    if size == x.base.size:
        return x
    return means(x)[:, :, None, None] if size == (1, 1) else NotImplemented


def _listed(value: Any) -> list:
    return list(value) if isinstance(value, tuple | list | torch.Size) else [value]


def cat(tensors: Any, dim: int = 0, **kwargs: Any) -> Any:
    """Over channels."""
    parts = list(tensors)
    fits = all(isinstance(p, Local) and not p.flat for p in parts) and not kwargs
    if not fits or dim % 4 != 1 or len({p.base.size for p in parts}) > 1:
        return NotImplemented
    first, *others = parts
    base = first.base.after(
        ("cat", *(id(p.base) for p in others)), [p.base for p in others],
        lambda: torch.cat([p.base.value for p in parts], 1),
    )  # fmt: skip
    top, left, tiles = aligned(parts)
    return Local(base, torch.cat(tiles, 1), top, left)


def chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    """Over channels."""
    return _parts(x, dim, lambda value: value.chunk(chunks, 1), ("chunk", chunks))


def split(x: Any, split_size: Any, dim: int = 0) -> Any:
    """Over channels."""
    return _parts(x, dim, lambda value: value.split(split_size, 1), ("split", repr(split_size)))


def _parts(x: Any, dim: int, divide: Callable, key: tuple) -> Any:
    if not isinstance(x, Local) or x.flat or dim % 4 != 1:
        return NotImplemented
    values = divide(x.base.value)
    bases = [
        x.base.after((*key, i), None, lambda v=v: v.contiguous()) for i, v in enumerate(values)
    ]
    tiles = divide(x.tiles)
    return tuple(Local(b, t, x.top, x.left) for b, t in zip(bases, tiles, strict=True))


def indexed(x: Any, index: Any) -> Any:
    """`x[:, 3]`, and `x[:, 2:5]`."""
    if not isinstance(x, Local) or x.flat or not isinstance(index, tuple) or len(index) != 2:
        return NotImplemented
    batch, channel = index
    if batch != slice(None) or not isinstance(channel, int | slice):
        return NotImplemented
    flat = isinstance(channel, int)
    chosen = slice(channel, channel + 1 or None) if isinstance(channel, int) else channel
    base = x.base.after(("index", repr(chosen)), None, lambda: x.base.value[:, chosen].contiguous())
    return Local(base, x.tiles[:, chosen], x.top, x.left, flat)


def unsqueeze(x: Any, dim: int) -> Any:
    """Gives the one channel its dimension back."""
    if not isinstance(x, Local) or not x.flat or dim not in (1, -3):
        return NotImplemented
    return Local(x.base, x.tiles, x.top, x.left)


def unchanged(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Memory layouts and copies: what is local is not written into by others."""
    return Local(x.base, x.tiles, x.top, x.left, x.flat) if isinstance(x, Local) else NotImplemented


def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Nothing, in evaluation mode."""
    return NotImplemented if training else x


def _fill() -> None:
    handlers = Local.handlers
    for name in ("relu", "sigmoid", "tanh", "abs", "exp", "square", "clamp", "neg", "sqrt"):
        function, method = getattr(torch, name), getattr(Tensor, name)
        handlers[function] = handlers[method] = each(function)
        for changing in (getattr(torch, f"{name}_", None), getattr(Tensor, f"{name}_", None)):
            if changing is not None:
                handlers[changing] = in_place(each(function), function)
    handlers[Tensor.__neg__] = each(torch.neg)
    for function in (
        F.gelu, F.softplus, F.logsigmoid, F.tanh, F.sigmoid, F.mish, F.softsign, torch.prelu
    ):  # fmt: skip
        handlers[function] = each(function)
    for function in (F.silu, F.relu, F.relu6, F.hardswish, F.hardsigmoid, F.mish, F.selu):
        handlers[function] = maybe_in_place(function, 1)
    for function, place in ((F.elu, 2), (F.leaky_relu, 2), (F.celu, 2), (F.hardtanh, 3)):
        handlers[function] = maybe_in_place(function, place)
    for name in ("add", "sub", "mul", "div"):
        function = getattr(torch, name)
        handler, slot = both(function), "truediv" if name == "div" else name
        handlers[function] = handlers[getattr(Tensor, name)] = handler
        handlers[getattr(Tensor, f"__{slot}__")] = handler
        handlers[getattr(Tensor, f"{name}_")] = in_place(handler, function)
        handlers[getattr(Tensor, f"__i{slot}__")] = in_place(handler, function)
        handlers[getattr(operator, slot)] = handler
    for slot, function in (("__radd__", torch.add), ("__rmul__", torch.mul)):
        handlers[getattr(Tensor, slot)] = both(function)
    handlers[F.avg_pool2d] = average_pool
    handlers |= {
        torch.conv2d: convolution, F.conv2d: convolution,
        torch.max_pool2d: max_pool, F.max_pool2d: max_pool,
        F.batch_norm: batch_norm, F.adaptive_avg_pool2d: adaptive_average,
        torch.mean: mean, Tensor.mean: mean, torch.cat: cat, torch.concat: cat,
        torch.chunk: chunk, Tensor.chunk: chunk, torch.split: split, Tensor.split: split,
        Tensor.__getitem__: indexed, torch.unsqueeze: unsqueeze, Tensor.unsqueeze: unsqueeze,
        Tensor.contiguous: unchanged, Tensor.clone: unchanged, torch.clone: unchanged,
        Tensor.detach: unchanged, F.dropout: dropout, F.dropout2d: dropout,
    }  # fmt: skip


_fill()
