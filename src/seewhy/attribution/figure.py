"""Figures of explanations: each picture, and beside it the map of every method.

The layout and the drawing are in `seewhy.show.figure_grid`.
"""

import math
import textwrap
from typing import TYPE_CHECKING, TypeVar

from PIL.Image import Image

from seewhy.attribution.drawing import as_panel, draw
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.explanation_text import (
    caption,
    layer_text,
    smoothing_text,
    source_name,
    target_text,
)
from seewhy.show.figure_grid import (
    HEADER,
    IMAGE_WIDTH,
    FigureGrid,
    clip,
)
from seewhy.show.overlay import rgb
from seewhy.show.pixel_grid import PixelGrid
from seewhy.show.text import number, scale_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ABREAST = 4  # maps beside a picture before they wrap


def figure(thing: Explanation | Panel) -> "Figure":
    """Return a matplotlib figure with a row per picture: the picture, then a map per method.

    More than four maps wrap. Skipped methods are listed in the caption with the reason.
    """
    return _filled(FigureGrid, thing).figure


def image(thing: Explanation | Panel) -> Image:
    """Return the same figure as an image, drawn faster without matplotlib."""
    return _filled(PixelGrid, thing).canvas


Grid = TypeVar("Grid", FigureGrid, PixelGrid)


def _filled(kind: type[Grid], thing: Explanation | Panel) -> Grid:
    panel = as_panel(thing)
    first = panel.explanations[0]
    lines_per_picture = math.ceil(len(panel.explanations) / MOST_ABREAST)
    maps_per_line = math.ceil(len(panel.explanations) / lines_per_picture)
    caption = _caption(panel, columns=1 + maps_per_line)
    height, width = first.heatmap.shape[1:]
    headers = [HEADER] * (len(first) * lines_per_picture)
    grid = kind(1 + maps_per_line, headers, IMAGE_WIDTH * height / width, len(caption))
    for index in range(len(first)):
        _draw_picture(grid, first, index, line=index * lines_per_picture)
        for i, explanation in enumerate(panel.explanations):
            line, column = divmod(i, maps_per_line)
            subtitle = layer_text(explanation) or smoothing_text(explanation)
            cell = index * lines_per_picture + line, 1 + column
            drawing = draw(explanation, index)
            grid.map(drawing, explanation.signed, *cell, explanation.method, subtitle)
    grid.write_caption(caption)
    return grid


def _draw_picture(
    grid: FigureGrid | PixelGrid, explanation: Explanation, index: int, line: int
) -> None:
    """Draw the model's input, with the predicted class above and the picture's name below."""
    name, value = explanation.top(1)[index][0]
    value_text = f"= {number(value)}" if explanation.raw else f"{value:.2f}"
    below = [source_name(explanation, index)]
    if explanation.logits[index].argmax() != explanation.target[index]:
        below.append(f"explained: {target_text(explanation, index)}")
    grid.picture(
        rgb(explanation.batch.pixels[index].detach().cpu()),
        line,
        0,
        f"{clip(name, 33 - len(value_text))} {value_text}",
        _prediction_kind(explanation),
        "\n".join(clip(text, 44) for text in below),
    )


def _prediction_kind(explanation: Explanation) -> str:
    if not explanation.raw:
        return "predicted"
    return "highest score" if explanation.logits.shape[1] > 1 else "score"


def _caption(panel: Panel, columns: int) -> list[str]:
    """Return the lines of the caption, with the skipped methods and their reasons."""
    first = panel.explanations[0]
    alone = len(panel.explanations) == 1 and len(first) == 1
    texts = [caption(first) if alone else first.provenance.model]
    texts += [scale_text()]
    texts += [f"skipped {name}: {reason}" for name, reason in panel.skipped]
    return [line for text in texts for line in textwrap.wrap(text, 46 * columns)]
