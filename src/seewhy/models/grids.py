"""The spatial grid of a layer: how rows and columns of the picture are laid out in its output.

Convolutional feature maps are [batch, channels, h, w]; Swin and ConvNeXt blocks use
[batch, h, w, channels]; transformers use [batch, tokens, channels], with a few prefix tokens
(class, distillation, registers) before the patches. A `Grid` names the layout and converts an
activation to feature maps. Grids are inferred from shapes alone: a grid has the aspect ratio of the
input.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address

MOST_PREFIX_TOKENS = 16  # class + distillation + registers; DINOv2 has 5


@dataclass(frozen=True)
class Grid:
    """The spatial layout of one layer's output."""

    layout: Literal["channels-first", "channels-last", "tokens"]
    height: int
    width: int
    prefix: int = 0

    def maps(self, activation: Tensor) -> Float[Tensor, "batch channels h w"]:
        """Convert an activation to feature maps, without the prefix tokens."""
        if self.layout == "channels-first":
            return activation
        if self.layout == "channels-last":
            return activation.permute(0, 3, 1, 2)
        patches = activation[:, self.prefix : self.prefix + self.height * self.width]
        return patches.transpose(1, 2).unflatten(2, (self.height, self.width))

    def index(self, address: Address) -> tuple:
        """Return the index that selects the addressed part of a raw activation."""
        every = slice(None)
        channel = every if address.channel is None else address.channel
        if address.position is None:
            return {
                "channels-first": (every, channel),
                "channels-last": (..., channel),
                "tokens": (..., channel),
            }[self.layout]
        row, column = address.position
        if not (row < self.height and column < self.width):
            raise SeewhyError(
                f"{address}: the grid of {address.layer} has {self.height} rows and "
                f"{self.width} columns, counted from 0"
            )
        return {
            "channels-first": (every, channel, row, column),
            "channels-last": (every, row, column, channel),
            "tokens": (every, self.prefix + row * self.width + column, channel),
        }[self.layout]

    def __str__(self) -> str:
        prefix = f" after {self.prefix} prefix" if self.prefix else ""
        tokens = f" tokens{prefix}" if self.layout == "tokens" else ""
        return f"{self.height}x{self.width}{tokens}"


def find_grid(
    shape: tuple[int, ...],
    size: tuple[int, int],
    known: Iterable[tuple[int, int]] = (),
    channels_last: bool = False,
) -> Grid | None:
    """Infer the grid of an output of `shape` (without batch) for an input of `size`, or None.

    `known` holds the (height, width) of feature maps earlier in the same forward pass: the map of a
    patch embedding determines the layout of the tokens that follow it. `channels_last` decides
    ambiguous shapes, such as 96 x 96 x 96.
    """
    if len(shape) == 3:
        fits_first = fits(shape[1], shape[2], size)
        fits_last = fits(shape[0], shape[1], size)
        if fits_last and (channels_last or not fits_first):
            return Grid("channels-last", shape[0], shape[1])
        if fits_first:
            return Grid("channels-first", shape[1], shape[2])
    if len(shape) == 2:
        return _token_grid(shape[0], size, known)
    return None


def _token_grid(
    tokens: int, size: tuple[int, int], known: Iterable[tuple[int, int]]
) -> Grid | None:
    for height, width in sorted(set(known), key=lambda hw: -hw[0] * hw[1]):
        prefix = tokens - height * width
        if 0 <= prefix <= MOST_PREFIX_TOKENS and height * width > prefix:
            return Grid("tokens", height, width, prefix)
    for prefix in range(min(MOST_PREFIX_TOKENS, tokens // 2) + 1):
        patches = tokens - prefix
        height = round(sqrt(patches * size[0] / size[1]))
        if height and patches % height == 0 and fits(height, patches // height, size, slack=0.5):
            return Grid("tokens", height, patches // height, prefix)
    return None


def fits(height: int, width: int, size: tuple[int, int], slack: float = 1.5) -> bool:
    """Return whether a map could be a down-sampled picture: same aspect, more than one cell."""
    inside = height * width > 1 and height <= size[0] + 2 and width <= size[1] + 2
    expected = width * size[0] / size[1], height * size[1] / size[0]
    return inside and (abs(height - expected[0]) <= slack or abs(width - expected[1]) <= slack)
