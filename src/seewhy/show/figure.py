"""Figures to keep or to print: the picture, and beside it what each method says.

Drawn with matplotlib's object-oriented API; global state and rcParams stay untouched.
"""

import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.explanation import Explanation, Panel
from seewhy.show.colour import Range, colours, normalise
from seewhy.show.drawing import as_panel, draw
from seewhy.show.encoding import TINY
from seewhy.show.overlay import rgb
from seewhy.show.text import (
    caption,
    layer_text,
    number,
    remarks,
    smoothing_text,
    source_name,
    target_text,
)
from seewhy.writing import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#222222", "#666666"
MOST_ABREAST = 4  # maps beside one picture, before they wrap

# Inches.
IMAGE_WIDTH = 2.4
HEADER, FOOTER = 0.44, 0.42
GAP, MARGIN = 0.16, 0.12
LINE = 0.16


def figure(thing: Explanation | Panel) -> "Figure":
    """A matplotlib figure: a row per picture, with the picture and then a map per method.

    More than four maps wrap below. Methods that were skipped are listed at the foot, with why.
    """
    panel = as_panel(thing)
    first = panel.explanations[0]
    lines_each = math.ceil(len(panel.explanations) / MOST_ABREAST)
    abreast = math.ceil(len(panel.explanations) / lines_each)
    foot = _foot(panel, columns=1 + abreast)
    height, width = first.heatmap.shape[1:]
    sheet = _Sheet(1 + abreast, len(first) * lines_each, IMAGE_WIDTH * height / width, len(foot))
    for index in range(len(first)):
        _draw_picture(sheet, first, index, line=index * lines_each)
        for place, explanation in enumerate(panel.explanations):
            line, column = divmod(place, abreast)
            _draw_map(sheet, explanation, index, index * lines_each + line, 1 + column)
    sheet.write_foot(foot)
    return sheet.figure


def explanation_png_bytes(thing: Explanation | Panel, dpi: int = 150) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    drawn = figure(thing)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the file is still good.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        drawn.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save_png(thing: Explanation | Panel, path: str | Path, dpi: int = 150) -> None:
    """Write the figure to `path` as PNG, whole or not at all."""
    write_bytes(path, explanation_png_bytes(thing, dpi))


@dataclass
class _Sheet:
    """Places axes in inches on a grid of cells: header, image, footer."""

    columns: int
    lines: int
    image_height: float
    foot_lines: int

    def __post_init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.cell = HEADER + self.image_height + FOOTER
        self.width = 2 * MARGIN + self.columns * (IMAGE_WIDTH + GAP) - GAP
        self.height = self.lines * self.cell + (self.foot_lines + 0.5) * LINE
        self.figure = Figure(figsize=(self.width, self.height), facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, line: int, column: int, below: float, height: float, narrow: float = 0.0):
        """Axes `below` inches under the cell's top, `narrow` inches less on either side."""
        left = MARGIN + column * (IMAGE_WIDTH + GAP) + narrow
        bottom = self.height - line * self.cell - below - height
        width = IMAGE_WIDTH - 2 * narrow
        box = (
            left / self.width,
            bottom / self.height,
            width / self.width,
            height / self.height,
        )
        return self.figure.add_axes(box)

    def image(self, image: Float[Tensor, "3 height width"], line: int, column: int) -> "Axes":
        """An image in its cell, with no frame."""
        axes = self.axes(line, column, HEADER, self.image_height)
        small = min(image.shape[1:]) < TINY
        axes.imshow(
            image.permute(1, 2, 0).numpy(),
            interpolation="nearest" if small else "antialiased",
            aspect="auto",
        )
        axes.set_axis_off()
        return axes

    def write_foot(self, lines: Sequence[str]) -> None:
        for i, text in enumerate(lines):
            y = (len(lines) - i - 0.2) * LINE / self.height
            self.figure.text(
                MARGIN / self.width,
                y,
                text,
                va="center",
                fontsize=7.5,
                color=FAINT,
                parse_math=False,
            )


def _draw_picture(sheet: _Sheet, explanation: Explanation, index: int, line: int) -> None:
    """The picture as the model saw it, with the predicted class above and its name below."""
    name, probability = explanation.top(1)[index][0]
    axes = sheet.image(rgb(explanation.batch.pixels[index].detach().cpu()), line, 0)
    _title(axes, f"{_clip(name, 29)} {probability:.2f}", "predicted")
    foot = [source_name(explanation, index)]
    if explanation.logits[index].argmax() != explanation.target[index]:
        foot.append(f"explained: {target_text(explanation, index)}")
    _below(axes, "\n".join(_clip(text, 44) for text in foot))


def _draw_map(sheet: _Sheet, explanation: Explanation, index: int, line: int, column: int) -> None:
    """A map over its picture, with its name above and its colour bar below."""
    drawing = draw(explanation, index)
    axes = sheet.image(drawing.overlay, line, column)
    small = layer_text(explanation) or smoothing_text(explanation)
    _title(axes, explanation.method, small)
    found = remarks(drawing.statistics)
    if drawing.span.low == drawing.span.high:
        _below(axes, "\n".join(found))
        return
    bar = sheet.axes(line, column, HEADER + sheet.image_height + 0.06, 0.06, narrow=0.1)
    _colour_bar(bar, drawing.span, explanation.signed)
    if found:
        bar.set_xlabel(found[0], fontsize=6.5, color=FAINT, labelpad=1)


def _colour_bar(axes: "Axes", span: Range, signed: bool) -> None:
    """A slim bar of the colours with the values at its ends, and zero where it lies between."""
    values = torch.linspace(span.low, span.high, 256, dtype=torch.float64)
    strip = colours(normalise(values, span, signed), signed).T[None].numpy()
    axes.imshow(strip, aspect="auto", extent=(0.0, 1.0, 0.0, 1.0))
    ticks: list[tuple[float, float, Literal["left", "center", "right"]]]
    ticks = [(0.0, span.low, "left"), (1.0, span.high, "right")]
    if span.low < 0 < span.high:
        ticks.append((-span.low / (span.high - span.low), 0.0, "center"))
    axes.set_xticks([place for place, _, _ in ticks], [number(value) for _, value, _ in ticks])
    for label, (_, _, side) in zip(axes.get_xticklabels(), ticks, strict=True):
        label.set_horizontalalignment(side)
    axes.set_yticks([])
    axes.tick_params(labelsize=6.5, length=2, width=0.5, pad=1.5, color=FAINT, labelcolor=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _title(axes: "Axes", text: str, small: str) -> None:
    place = {"transform": axes.transAxes, "parse_math": False, "ha": "left", "va": "bottom"}
    axes.text(0, 1.08, _clip(text, 34), fontsize=9, color=INK, **place)
    axes.text(0, 1.015, _clip(small, 46), fontsize=7, color=FAINT, **place)


def _below(axes: "Axes", text: str) -> None:
    axes.text(
        0,
        -0.02,
        text,
        fontsize=7,
        color=FAINT,
        transform=axes.transAxes,
        va="top",
        parse_math=False,
    )


def _foot(panel: Panel, columns: int) -> list[str]:
    """The caption, and the skipped methods with their reasons."""
    first = panel.explanations[0]
    alone = len(panel.explanations) == 1 and len(first) == 1
    texts = [caption(first) if alone else first.provenance.model]
    texts += [f"skipped {name}: {reason}" for name, reason in panel.skipped]
    return [line for text in texts for line in textwrap.wrap(text, 46 * columns)]


def _clip(text: str, most: int) -> str:
    """The text on one line of at most `most` characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
