"""Which part of its output an edit reaches through a window that slides, and what that reads."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Reach:
    """Along one axis: where the outputs begin that differ, and the inputs that they read.

    - `start`: of the outputs, for each edit; `count`: their number, the same for all.
    - `first`: of the inputs, in padded places, so far ahead that the tile lies behind it whole.
    - `length`: inputs in all. - `skip`: of those that come before the first that is read.
    - `pad_after`: what the padding behind has to be.
    """

    start: Int[Tensor, " edits"]
    count: int
    first: Int[Tensor, " edits"]
    length: int
    skip: int
    read: int
    pad_before: int
    pad_after: int


def reach(
    tile: Int[Tensor, " edits"], size: int, whole: int, out: int,
    window: int, stride: int, pad: int, dilation: int = 1,
) -> Reach:  # fmt: skip
    """The reach of tiles that begin at `tile` and are `size` long, on an axis `whole` long.

    `out`: the length of the output; `window`, `stride`, `pad`, `dilation` of what slides.
    """
    extent = (window - 1) * dilation + 1
    low = torch.div(tile + pad - extent + stride, stride, rounding_mode="floor").clamp(0, out - 1)
    high = torch.div(tile + pad + size - 1, stride, rounding_mode="floor").clamp(0, out - 1)
    count = max(1, int((high - low).max()) + 1)
    start = low.clamp(max=out - count)
    read = (count - 1) * stride + extent
    begin = start * stride  # in padded places
    ahead = max(0, int((begin - (tile + pad)).max()))
    behind = max(0, int((tile + pad + size - begin - read).max()))
    first, length = begin - ahead, ahead + read + behind
    more = max(0, -int(first.min()))  # padding that is only there to hold the tile
    last = int((first + length).max())
    return Reach(
        start=start, count=count, first=first + more, length=length, skip=ahead, read=read,
        pad_before=pad + more, pad_after=max(0, last - whole - pad),
    )  # fmt: skip
