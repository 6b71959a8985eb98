"""Run a network on locally edited copies of one picture."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.engine.incremental.elementwise import ELEMENTWISE
from seewhy.engine.incremental.local import Local, Run
from seewhy.engine.incremental.once import Once
from seewhy.engine.incremental.reducing import REDUCING
from seewhy.engine.incremental.shaping import SHAPING
from seewhy.engine.incremental.sliding import SLIDING
from seewhy.engine.incremental.spans import Span

FUNCTIONS: dict[Callable, Callable] = {**ELEMENTWISE, **SLIDING, **SHAPING, **REDUCING}


class Incremental:
    """Runs a network on locally edited copies of one picture.

    - `net`: any function of a batch of pictures that treats each picture independently, such as a
    network in evaluation mode. The network is unmodified; it runs on a tensor subclass that tracks
    edited regions. A layer whose output changes only in a small region is computed in that region.
    Once the region covers more than `dense_share` of the map, or an operation is not local, the
    whole map is computed.
    - `dense_share`: the largest share of a map, in (0, 1], that is computed as a region. It affects
    the time, not the result.
    - `followed`: functions of the last call, in order, with the share of the map that they
    computed; 1 if an operation was not local.

    All activations of the picture itself are kept in memory for the next call with the same
    picture. Gradients are not recorded.
    """

    def __init__(self, net: Callable[[Tensor], Any], *, dense_share: float = 0.75):
        self.net = net
        self.dense_share = dense_share
        self.followed: list[tuple[str, float]] = []
        self._picture: Tensor | None = None
        self._once = Once()

    def __call__(
        self,
        picture: Float[Tensor, "1 channels height width"],
        patches: Float[Tensor, "copies channels rows columns"],
        top: Sequence[int] | Tensor,
        left: Sequence[int] | Tensor,
    ) -> Any:
        """Return the network's output for the picture with each of the patches.

        The i-th copy of the picture contains `patches[i]`, whose upper left corner is at row
        `top[i]` and column `left[i]`; it must lie inside the picture. Up to rounding, the result is
        the network's output for a batch of all copies. The picture sets dtype and memory format.

        Raises NotLocal if the network writes into maps, or bypasses torch's Python functions, in a
        way that cannot be tracked.
        """
        spans = (
            _span(top, patches.shape[2], picture.shape[2]),
            _span(left, patches.shape[3], picture.shape[3]),
        )
        with torch.no_grad():
            base = self._kept(picture)
            run = Run(FUNCTIONS, self.dense_share, self._once)
            form = torch.channels_last if _is_channels_last(base) else torch.contiguous_format
            tiles = patches.detach().to(base, copy=True, memory_format=form)
            try:
                result = self.net(Local(base, tiles, 2, spans, run))
            finally:
                self.followed = run.followed
                self._once.rewind()
            return _plain(result)

    def _kept(self, picture: Tensor) -> Tensor:
        """Return the picture, as the tensor of the last call if the pictures are equal."""
        kept = self._picture
        if (
            kept is None
            or kept.dtype != picture.dtype
            or kept.device != picture.device
            or kept.stride() != picture.stride()
            or not torch.equal(kept, picture)
        ):
            self._once = Once()
            self._picture = kept = picture.detach().clone()
        return kept


def _span(starts: Sequence[int] | Tensor, size: int, length: int) -> Span:
    starts = starts.tolist() if isinstance(starts, Tensor) else starts
    span = Span(np.array(starts, dtype=np.int64), size, length)
    if len(starts) == 0 or span.starts.min() < 0 or span.end.max() > length:
        raise ValueError(f"windows of {size} cells from {starts} do not fit into {length}")
    return span


def _is_channels_last(picture: Tensor) -> bool:
    return not picture.is_contiguous() and picture.is_contiguous(memory_format=torch.channels_last)


def _plain(result: Any) -> Any:
    """Return the network's output with each local tensor replaced by its whole maps."""
    if isinstance(result, Local):
        return result.whole()
    if isinstance(result, dict):
        plain = copy(result)
        for key, value in result.items():
            plain[key] = _plain(value)
        return plain
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*map(_plain, result))
    if isinstance(result, tuple | list):
        return type(result)(map(_plain, result))
    local = {name: value for name, value in getattr(result, "__dict__", {}).items()
             if isinstance(value, Local)}  # fmt: skip
    if local:
        result = copy(result)
        for name, value in local.items():
            setattr(result, name, value.whole())
    return result
