"""The activations of the picture that was not edited, computed once and kept."""

from collections.abc import Callable, Hashable
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class Base:
    """One activation of the unedited picture, and those that were computed from it.

    The network runs again for every batch of edits; what it does to this activation is looked up.
    """

    def __init__(self, value: Float[Tensor, "1 channels height width"]):
        self.value = value
        self._after: dict[Hashable, Base] = {}
        self._padded: dict[Hashable, Tensor] = {}
        self._kept: list[Any] = []  # so that the ids in keys stay theirs

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.value.shape[-2], self.value.shape[-1]

    def after(self, key: Hashable, kept: Any, compute: Callable[[], Tensor]) -> "Base":
        """The activation that an operation makes of this one."""
        if key not in self._after:
            self._after[key] = Base(compute())
            self._kept.append(kept)
        return self._after[key]

    def region(
        self,
        top: Int[Tensor, " edits"],
        left: Int[Tensor, " edits"],
        size: tuple[int, int],
        pad: tuple[int, int, int, int] = (0, 0, 0, 0),
        fill: float = 0.0,
    ) -> Float[Tensor, "edits channels h w"]:
        """A region for each edit, of the activation padded by (left, right, top, bottom)."""
        if (pad, fill) not in self._padded:
            padded = F.pad(self.value, pad, value=fill) if any(pad) else self.value
            self._padded[pad, fill] = padded.permute(0, 2, 3, 1).contiguous()
        return cut(self._padded[pad, fill], top, left, size)


def cut(
    rows: Float[Tensor, "1 height width channels"],
    top: Int[Tensor, " edits"],
    left: Int[Tensor, " edits"],
    size: tuple[int, int],
) -> Float[Tensor, "edits channels h w"]:
    """Regions of one size at different places; channels lie next to each other in memory."""
    width, channels = rows.shape[2:]
    y = top[:, None] + _count(size[0], top)
    x = left[:, None] + _count(size[1], left)
    index = (y[:, :, None] * width + x[:, None, :]).flatten()
    found = rows.view(-1, channels).index_select(0, index)
    return found.view(len(top), *size, channels).permute(0, 3, 1, 2)


def _count(number: int, like: Tensor) -> Tensor:
    return like.new_ones(number).cumsum(0) - 1
