"""Where the model's input lies in the original picture, and the way back to it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


@dataclass(frozen=True)
class View:
    """Where the model's input lies in the original picture.

    - `original`: height, width of the picture, in pixels.
    - `box`: top, left, height, width of the input, in pixels of the original.
    - `size`: height, width of the model's input.
    """

    original: tuple[int, int]
    box: tuple[float, float, float, float]
    size: tuple[int, int]

    @classmethod
    def identity(cls, height: int, width: int) -> "View":
        """The view of a picture that the model sees as it is."""
        return cls((height, width), (0.0, 0.0, float(height), float(width)), (height, width))

    def to_original(self, heatmap: Float[Tensor, "h w"]) -> Float[Tensor, "H W"]:
        """The map on the pixels of the original picture, bilinear; NaN outside the box.

        `heatmap` covers the model's input, on a grid of any size. Where the original has
        fewer pixels than the map, the map is averaged down first, so nothing slips between.
        """
        top, left, height, width = self.box
        y = self._centres(self.original[0], top, height, heatmap)
        x = self._centres(self.original[1], left, width, heatmap)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        values = grid_sample(
            self._no_finer_than_original(heatmap[None, None]),
            grid[None],
            padding_mode="border",
            align_corners=False,
        )[0, 0]
        inside = (y.abs() <= 1)[:, None] & (x.abs() <= 1)
        return values.masked_fill(~inside, torch.nan)

    @staticmethod
    def _centres(pixels: int, start: float, extent: float, like: Tensor) -> Tensor:
        """The centres of the original's pixels, where the box spans -1 to 1."""
        centres = torch.arange(pixels, dtype=like.dtype, device=like.device) + 0.5
        return 2 * (centres - start) / extent - 1

    def _no_finer_than_original(self, maps: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 y x"]:
        height, width = maps.shape[2:]
        coarse = min(height, max(1, round(self.box[2]))), min(width, max(1, round(self.box[3])))
        if coarse == (height, width):
            return maps
        return interpolate(maps, coarse, mode="bilinear", align_corners=False, antialias=True)
