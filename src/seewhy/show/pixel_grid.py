"""Draw the layout of `figure_grid` with Pillow, several times faster than with matplotlib."""

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
from seewhy.support.printable import printable

DPI = 150


@dataclass
class PixelGrid(Layout):
    """A grid drawn on a white image; lengths are in inches, as in a matplotlib figure."""

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
        """Draw an image with a title and subtitle above and text below."""
        left, top = self.corner(line, column)
        size = _dots(IMAGE_WIDTH), _dots(self.image_height)
        tiny = min(image.shape[1:]) < TINY
        resampling = Image.Resampling.NEAREST if tiny else Image.Resampling.BICUBIC
        self.canvas.paste(_image(image).resize(size, resampling), (_dots(left), _dots(top)))
        self._write(left, top - 0.08 * self.image_height, clip(title, 34), 9, INK, "ld")
        self._write(left, top - 0.015 * self.image_height, clip(small, 46), 7, FAINT, "ld")
        for i, text in enumerate(below.splitlines()):
            self._write(left, top + 1.02 * self.image_height + i * 0.12, text, 7, FAINT, "la")

    def map(
        self, drawing: Drawing, signed: bool, line: int, column: int, title: str, small: str
    ) -> None:
        """Draw a map over its picture, with its colour bar or remarks below."""
        texts = remarks(drawing.statistics)
        flat = drawing.span.low == drawing.span.high
        below = "\n".join(texts) if flat else ""
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
        label_top = top + BAR_HEIGHT + 0.03
        for position, label, side in ticks(drawing):
            self._write(left + position * width, label_top, label, 6.5, FAINT, ANCHORS[side])
        if texts:
            self._write(left + width / 2, label_top + 0.11, texts[0], 6.5, FAINT, "ma")

    def write_caption(self, lines: Sequence[str]) -> None:
        """Write lines of text at the bottom of the grid."""
        for i, text in enumerate(lines):
            y = self.height - (len(lines) - i - 0.2) * LINE
            self._write(MARGIN, y, text, 7.5, FAINT, "lm")

    def _write(
        self, left: float, top: float, text: str, points: float, ink: str, anchor: str
    ) -> None:
        position = left * DPI, top * DPI
        self.pen.text(position, printable(text), fill=ink, font=_font(points), anchor=anchor)


ANCHORS = {"left": "la", "center": "ma", "right": "ra"}


def _dots(inches: float) -> int:
    return round(inches * DPI)


def _image(image: Float[Tensor, "3 height width"]) -> Image.Image:
    pixels = (image.detach().cpu().clamp(0, 1) * 255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


@cache
def _font(points: float) -> ImageFont.FreeTypeFont:
    """Load the default font of matplotlib's figures, which matplotlib includes."""
    import matplotlib

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), points * DPI / 72)
