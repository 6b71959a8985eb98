"""The position of the model's input in the original picture, and the mapping back to it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


@dataclass(frozen=True)
class View:
    """The position of the model's input in the original picture.

    - `original`: height, width of the picture, in pixels.
    - `box`: top, left, height, width of the input, in pixels of the original.
    - `size`: height, width of the model's input.
    """

    original: tuple[int, int]
    box: tuple[float, float, float, float]
    size: tuple[int, int]

    @classmethod
    def identity(cls, height: int, width: int) -> "View":
        """Return the view of a picture that is used without resizing or cropping."""
        return cls((height, width), (0.0, 0.0, float(height), float(width)), (height, width))

    def to_original(self, heatmap: Float[Tensor, "h w"]) -> Float[Tensor, "H W"]:
        """Interpolate a map bilinearly to the original picture, with NaN outside the box.

        `heatmap` covers the model's input and may have any resolution. If it is finer than the
        original picture, it is first down-sampled with antialiasing, so that no values are skipped.
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
        """Return the centres of the original's pixels in coordinates where the box is [-1, 1]."""
        centres = torch.arange(pixels, dtype=like.dtype, device=like.device) + 0.5
        return 2 * (centres - start) / extent - 1

    def _no_finer_than_original(self, maps: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 y x"]:
        height, width = maps.shape[2:]
        coarse = min(height, max(1, round(self.box[2]))), min(width, max(1, round(self.box[3])))
        if coarse == (height, width):
            return maps
        return interpolate(maps, coarse, mode="bilinear", align_corners=False, antialias=True)
