"""Convolutions and pooling, computed only for the windows that read edited cells."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.engine.incremental.local import Local, apply
from seewhy.engine.incremental.spans import Window
from seewhy.engine.incremental.tiles import Spans, cut, paste

Pair = int | Sequence[int]


def convolution(
    func: Callable, x: Any, weight: Any, bias: Tensor | None = None, stride: Pair = 1,
    padding: Pair | str = 0, dilation: Pair = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Convolve in two dimensions, with zeros as padding."""
    if not _is_map(x) or isinstance(weight, Local) or isinstance(bias, Local):
        return NotImplemented
    steps = _pair(dilation)
    sizes = [step * (size - 1) + 1 for step, size in zip(steps, weight.shape[2:], strict=True)]
    if padding == "same":
        before = [(size - 1) // 2 for size in sizes]
    else:
        before = [0, 0] if isinstance(padding, str) else _pair(padding)
    base = x.run.once(apply, func, (x.base, weight, bias, stride, padding, dilation, groups), {})
    return _slide(
        func, x, base, _windows(sizes, _pair(stride), before), 0.0,
        lambda read: func(read, weight, bias, stride, 0, dilation, groups),
    )  # fmt: skip


def max_pool(
    func: Callable, x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0,
    dilation: Pair = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """Return the maximum of each window, ignoring what lies outside of the map."""
    if not _is_map(x) or return_indices:
        return NotImplemented
    stride = kernel_size if stride is None or stride == [] else stride
    steps, counts, strides = _pair(dilation), _pair(kernel_size), _pair(stride)
    sizes = [step * (count - 1) + 1 for step, count in zip(steps, counts, strict=True)]
    arguments = (x.base, kernel_size, stride, padding, dilation, ceil_mode)
    base = x.run.once(apply, func, arguments, {})
    return _slide(
        func, x, base, _windows(sizes, strides, _pair(padding)), float("-inf"),
        lambda read: _largest(_largest(read, 2, counts, steps, strides), 3, counts, steps, strides),
    )  # fmt: skip


def _largest(
    read: Tensor, axis: int, counts: list[int], steps: list[int], strides: list[int]
) -> Tensor:
    """Return the maximum of each window along one axis, faster than pooling with its indices."""
    count, step, stride = (of[axis - 2] for of in (counts, steps, strides))
    last = read.shape[axis] - step * (count - 1)
    cells = (slice(None),) * axis
    shifted = [read[(*cells, slice(i * step, i * step + last, stride))] for i in range(count)]
    return reduce(torch.maximum, shifted)


def average_pool(
    func: Callable, x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """Return the mean of each window, which may have fewer cells at the border of the map."""
    if not _is_map(x):
        return NotImplemented
    stride = kernel_size if stride is None or stride == [] else stride
    arguments = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    base = x.run.once(apply, func, (x.base, *arguments), {})
    shares = x.run.once(_shares, func, x.base, arguments)
    windows = _windows(_pair(kernel_size), _pair(stride), _pair(padding))
    summed = _slide(
        func, x, base, windows, 0.0,
        lambda read: func(read, kernel_size, stride, 0, False, True, 1),
    )  # fmt: skip
    if summed is not NotImplemented:
        summed.tiles *= cut(shares, summed.axis, summed.region)
    return summed


def _shares(func: Callable, base: Tensor, arguments: tuple) -> Tensor:
    """Return the factor from the sum of each window's cells to its mean."""
    ones = torch.ones_like(base[:, :1])
    *geometry, _, _ = arguments
    return func(ones, *arguments) / func(ones, *geometry, True, 1)


def _slide(
    func: Callable,
    x: Local,
    base: Tensor,
    windows: tuple[Window, Window],
    outside: float,
    compute: Callable[[Tensor], Tensor],
) -> Any:
    """Return the output with this base, and with tiles computed from what the windows read."""
    outputs: Spans = tuple(  # type: ignore[assignment]
        window.reached(span, length)
        for window, span, length in zip(windows, x.region, base.shape[2:], strict=True)
    )
    if not x.run.pays(func, outputs):
        return NotImplemented
    if all(window == Window(1, 1, 0) for window in windows):
        return x.made(base, compute(x.tiles))
    return x.made(base, compute(_read(x, windows, outputs, outside)), spans=outputs)


def _read(x: Local, windows: tuple[Window, Window], outputs: Spans, outside: float) -> Tensor:
    """Return the input of the windows of some outputs, padded with `outside` around the map."""
    # Padding ends at the last row and column that a window reads; later rows may be unread.
    after = [
        max(window.extent(span.length) - window.before - length, 0)
        for window, span, length in zip(windows, outputs, x.base.shape[2:], strict=True)
    ]
    (above, left), (below, right) = (window.before for window in windows), after
    padded = x.base
    if above or left or below or right:
        edges = [left, right, above, below]
        padded = x.run.once(apply, F.pad, (x.base, edges, "constant", outside), {})
    rows, columns = (
        window.read(span, length)
        for window, span, length in zip(windows, outputs, padded.shape[2:], strict=True)
    )
    region = cut(padded, x.axis, (rows, columns))
    own: Spans = tuple(  # type: ignore[assignment]
        span.within(window.before, 0) for window, span in zip(windows, x.region, strict=True)
    )
    paste(region, x.tiles, x.axis, (rows, columns), own)
    return region


def _is_map(x: Any) -> bool:
    return isinstance(x, Local) and x.ndim == 4 and x.axis == 2


def _pair(value: Pair) -> list[int]:
    both = [value] * 2 if isinstance(value, int) else list(value)
    return both * 2 if len(both) == 1 else both


def _windows(sizes: list[int], strides: list[int], before: list[int]) -> tuple[Window, Window]:
    vertical, horizontal = (Window(*of) for of in zip(sizes, strides, before, strict=True))
    return vertical, horizontal


SLIDING: dict[Callable, Callable] = {
    torch.conv2d: convolution,
    F.max_pool2d: max_pool,
    torch.max_pool2d: max_pool,
    F.avg_pool2d: average_pool,
}
