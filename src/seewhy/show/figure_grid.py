"""A grid of pictures in rows and columns, with titles, colour bars and a caption.

It is drawn with matplotlib's object-oriented API and does not change global state or rcParams.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.show.colour import colours, normalise
from seewhy.show.drawing import Drawing
from seewhy.show.encoding import TINY
from seewhy.show.glyphs import LITERAL, drawable, write
from seewhy.show.text import number, remarks
from seewhy.support.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#222222", "#666666"

# Inches.
IMAGE_WIDTH = 2.4
HEADER, FOOTER = 0.44, 0.42
GAP, MARGIN = 0.16, 0.12
LINE = 0.16
BAR_BELOW, BAR_HEIGHT, BAR_NARROW = 0.06, 0.06, 0.1  # the colour bar under a map

Tick = tuple[float, str, Literal["left", "center", "right"]]


@dataclass
class Layout:
    """The positions of cells on a grid, in inches; a cell has a header, an image and a footer.

    `headers` holds the height of each line's header.
    """

    columns: int
    headers: Sequence[float]
    image_height: float
    foot_lines: int

    def __post_init__(self) -> None:
        below = self.image_height + FOOTER
        self.tops = [sum(self.headers[: i + 1]) + i * below for i in range(len(self.headers))]
        self.width = 2 * MARGIN + self.columns * (IMAGE_WIDTH + GAP) - GAP
        self.height = self.tops[-1] + below + (self.foot_lines + 0.5) * LINE

    def corner(self, line: int, column: int) -> tuple[float, float]:
        """Return the top left corner of an image, measured from that of the grid."""
        return MARGIN + column * (IMAGE_WIDTH + GAP), self.tops[line]


@dataclass
class FigureGrid(Layout):
    """A grid of axes in a matplotlib figure."""

    def __post_init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        super().__post_init__()
        self.figure = Figure(figsize=(self.width, self.height), facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, line: int, column: int, below: float, height: float, narrow: float = 0.0):
        """Add axes `below` inches under the image's top, `narrow` inches narrower on each side."""
        left, top = self.corner(line, column)
        left, bottom = left + narrow, self.height - top - below - height
        width = IMAGE_WIDTH - 2 * narrow
        box = (
            left / self.width,
            bottom / self.height,
            width / self.width,
            height / self.height,
        )
        return self.figure.add_axes(box)

    def image(self, image: Float[Tensor, "3 height width"], line: int, column: int) -> "Axes":
        """Draw an image in its cell, without a frame."""
        axes = self.axes(line, column, 0.0, self.image_height)
        small = min(image.shape[1:]) < TINY
        axes.imshow(
            image.permute(1, 2, 0).numpy(),
            interpolation="nearest" if small else "antialiased",
            aspect="auto",
        )
        axes.set_axis_off()
        return axes

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
        axes = self.image(image, line, column)
        write_title(axes, title, small)
        write_below(axes, below)

    def map(
        self, drawing: Drawing, signed: bool, line: int, column: int, title: str, small: str
    ) -> None:
        """Draw a map over its picture; see `draw_map`."""
        draw_map(self, drawing, signed, line, column, title, small)

    def write_caption(self, lines: Sequence[str]) -> None:
        """Write lines of text at the bottom of the grid."""
        for i, text in enumerate(lines):
            y = (len(lines) - i - 0.2) * LINE / self.height
            left = MARGIN / self.width
            write(self.figure, left, y, text, va="center", fontsize=7.5, color=FAINT)


def draw_map(
    grid: FigureGrid,
    drawing: Drawing,
    signed: bool,
    line: int,
    column: int,
    title: str = "",
    small: str = "",
    if_zero: str = "",
) -> None:
    """Draw a map over its picture, with a title above and its colour bar or remarks below.

    `if_zero` replaces the remark on a map of zeros.
    """
    axes = grid.image(drawing.overlay, line, column)
    write_title(axes, title, small)
    numbers = drawing.statistics
    texts = [if_zero] if if_zero and numbers.all_zero else remarks(numbers)
    if drawing.span.low == drawing.span.high:
        write_below(axes, "\n".join(texts))
        return
    bar = grid.axes(line, column, grid.image_height + BAR_BELOW, BAR_HEIGHT, BAR_NARROW)
    _colour_bar(bar, drawing, signed)
    if texts:
        label = drawable(texts[0])
        bar.set_xlabel(label, fontsize=6.5, color=FAINT, labelpad=1, **LITERAL)


def write_beside(
    grid: FigureGrid, line: int, column: int, title: str, lines: Sequence[str]
) -> None:
    """Write text in a cell of its own, level with the images beside it."""
    axes = grid.axes(line, column, 0.0, grid.image_height)
    axes.set_axis_off()
    style = {"transform": axes.transAxes, "ha": "left", "va": "top"}
    write(axes, 0, 1, clip(title, 34), fontsize=9, color=INK, **style)
    top = 0.91 if title else 1
    write(axes, 0, top, "\n".join(lines), fontsize=7.5, color=FAINT, linespacing=1.5, **style)


def ticks(drawing: Drawing) -> list[Tick]:
    """Return the labels of a colour bar, with their positions along it from 0 to 1."""
    (low, high), (first, last) = drawing.span, drawing.ends
    ends: list[Tick] = [(0.0, first, "left"), (1.0, last, "right")]
    zero: list[Tick] = [(-low / (high - low), number(0.0), "center")] if low < 0 < high else []
    return ends + zero


def _colour_bar(axes: "Axes", drawing: Drawing, signed: bool) -> None:
    """Draw a thin colour bar with the values at its ends, and zero if it lies between them."""
    span = drawing.span
    values = torch.linspace(span.low, span.high, 256, dtype=torch.float64)
    strip = colours(normalise(values, span, signed), signed).T[None].numpy()
    axes.imshow(strip, aspect="auto", extent=(0.0, 1.0, 0.0, 1.0))
    labels = ticks(drawing)
    axes.set_xticks(
        [position for position, _, _ in labels], [label for _, label, _ in labels], **LITERAL
    )
    for label, (_, _, side) in zip(axes.get_xticklabels(), labels, strict=True):
        label.set_horizontalalignment(side)
    axes.set_yticks([])
    axes.tick_params(labelsize=6.5, length=2, width=0.5, pad=1.5, color=FAINT, labelcolor=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)


def write_title(axes: "Axes", text: str, small: str) -> None:
    """Write a title above the axes, with a smaller subtitle under it."""
    style = {"transform": axes.transAxes, "ha": "left", "va": "bottom"}
    write(axes, 0, 1.08, clip(text, 34), fontsize=9, color=INK, **style)
    write(axes, 0, 1.015, clip(small, 46), fontsize=7, color=FAINT, **style)


def write_below(axes: "Axes", text: str) -> None:
    """Write small text below the axes."""
    write(axes, 0, -0.02, text, fontsize=7, color=FAINT, transform=axes.transAxes, va="top")


def clip(text: str, most: int) -> str:
    """Put the text on one line and shorten it to at most `most` characters."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= most else text[: most - 1] + "…"
