"""The layout of `figure_grid` painted straight into pixels: several times faster than a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from seewhy.show.colour import colours, normalise
from seewhy.show.drawing import Drawing
from seewhy.show.encoding import TINY
from seewhy.show.figure_grid import (
    BAR_BELOW,
    BAR_HEIGHT,
    BAR_NARROW,
    FAINT,
    IMAGE_WIDTH,
    INK,
    LINE,
    MARGIN,
    Layout,
    clip,
    ticks,
)
from seewhy.show.text import remarks

DPI = 150


@dataclass
class PixelGrid(Layout):
    """Paints on a white image; measures are in inches, as those of the figure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.canvas = Image.new("RGB", (_dots(self.width), _dots(self.height)), "white")
        self.pen = ImageDraw.Draw(self.canvas)

    def picture(
        self,
        image: Float[Tensor, "3 height width"],
        line: int,
        column: int,
        title: str,
        small: str,
        below: str = "",
    ) -> None:
        """An image with a title above and words below."""
        left, top = self.corner(line, column)
        size = _dots(IMAGE_WIDTH), _dots(self.image_height)
        way = Image.Resampling.NEAREST if min(image.shape[1:]) < TINY else Image.Resampling.BICUBIC
        self.canvas.paste(_image(image).resize(size, way), (_dots(left), _dots(top)))
        self._write(left, top - 0.08 * self.image_height, clip(title, 34), 9, INK, "ld")
        self._write(left, top - 0.015 * self.image_height, clip(small, 46), 7, FAINT, "ld")
        for i, text in enumerate(below.splitlines()):
            self._write(left, top + 1.02 * self.image_height + i * 0.12, text, 7, FAINT, "la")

    def map(
        self, drawing: Drawing, signed: bool, line: int, column: int, title: str, small: str
    ) -> None:
        """A map over its picture, with its colour bar or remarks below."""
        found = remarks(drawing.statistics)
        flat = drawing.span.low == drawing.span.high
        below = "\n".join(found) if flat else ""
        self.picture(drawing.overlay, line, column, title, small, below)
        if flat:
            return
        left, top = self.corner(line, column)
        left, top = left + BAR_NARROW, top + self.image_height + BAR_BELOW
        width, (low, high) = IMAGE_WIDTH - 2 * BAR_NARROW, drawing.span
        values = normalise(
            torch.linspace(low, high, 256, dtype=torch.float64), drawing.span, signed
        )
        strip = _image(colours(values, signed)[:, None])
        self.canvas.paste(
            strip.resize((_dots(width), _dots(BAR_HEIGHT)), Image.Resampling.BILINEAR),
            (_dots(left), _dots(top)),
        )
        under = top + BAR_HEIGHT + 0.03
        for place, label, side in ticks(drawing):
            self._write(left + place * width, under, label, 6.5, FAINT, ANCHORS[side])
        if found:
            self._write(left + width / 2, under + 0.11, found[0], 6.5, FAINT, "ma")

    def write_caption(self, lines: Sequence[str]) -> None:
        """Lines at the foot of the grid."""
        for i, text in enumerate(lines):
            y = self.height - (len(lines) - i - 0.2) * LINE
            self._write(MARGIN, y, text, 7.5, FAINT, "lm")

    def _write(
        self, left: float, top: float, text: str, points: float, ink: str, anchor: str
    ) -> None:
        place = left * DPI, top * DPI
        self.pen.text(place, text, fill=ink, font=_font(points), anchor=anchor)


ANCHORS = {"left": "la", "center": "ma", "right": "ra"}


def _dots(inches: float) -> int:
    return round(inches * DPI)


def _image(image: Float[Tensor, "3 height width"]) -> Image.Image:
    eight = (image.detach().cpu().clamp(0, 1) * 255).round().byte()
    return Image.fromarray(eight.permute(1, 2, 0).numpy())


@cache
def _font(points: float) -> ImageFont.FreeTypeFont:
    """The font of matplotlib's figures, which comes with it."""
    import matplotlib

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), points * DPI / 72)
