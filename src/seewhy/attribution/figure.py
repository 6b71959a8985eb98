"""Figures to keep or to print: the picture, and beside it what each method says.

How they are laid out and drawn is in `seewhy.show.figure_grid`.
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

MOST_ABREAST = 4  # maps beside one picture, before they wrap


def figure(thing: Explanation | Panel) -> "Figure":
    """A matplotlib figure: a row per picture, with the picture and then a map per method.

    More than four maps wrap below. Methods that were skipped are listed at the caption, with why.
    """
    return _filled(FigureGrid, thing).figure


def image(thing: Explanation | Panel) -> Image:
    """The figure as pixels, without matplotlib's time."""
    return _filled(PixelGrid, thing).canvas


Grid = TypeVar("Grid", FigureGrid, PixelGrid)


def _filled(kind: type[Grid], thing: Explanation | Panel) -> Grid:
    panel = as_panel(thing)
    first = panel.explanations[0]
    lines_each = math.ceil(len(panel.explanations) / MOST_ABREAST)
    per_row = math.ceil(len(panel.explanations) / lines_each)
    caption = _caption(panel, columns=1 + per_row)
    height, width = first.heatmap.shape[1:]
    headers = [HEADER] * (len(first) * lines_each)
    grid = kind(1 + per_row, headers, IMAGE_WIDTH * height / width, len(caption))
    for index in range(len(first)):
        _draw_picture(grid, first, index, line=index * lines_each)
        for place, explanation in enumerate(panel.explanations):
            line, column = divmod(place, per_row)
            small = layer_text(explanation) or smoothing_text(explanation)
            where = index * lines_each + line, 1 + column
            drawing = draw(explanation, index)
            grid.map(drawing, explanation.signed, *where, explanation.method, small)
    grid.write_caption(caption)
    return grid


def _draw_picture(
    grid: FigureGrid | PixelGrid, explanation: Explanation, index: int, line: int
) -> None:
    """The picture as the model saw it, with the predicted class above and its name below."""
    name, value = explanation.top(1)[index][0]
    said = f"= {number(value)}" if explanation.raw else f"{value:.2f}"
    below = [source_name(explanation, index)]
    if explanation.logits[index].argmax() != explanation.target[index]:
        below.append(f"explained: {target_text(explanation, index)}")
    grid.picture(
        rgb(explanation.batch.pixels[index].detach().cpu()),
        line,
        0,
        f"{clip(name, 33 - len(said))} {said}",
        _what_is_first(explanation),
        "\n".join(clip(text, 44) for text in below),
    )


def _what_is_first(explanation: Explanation) -> str:
    if not explanation.raw:
        return "predicted"
    return "highest score" if explanation.logits.shape[1] > 1 else "score"


def _caption(panel: Panel, columns: int) -> list[str]:
    """The caption, and the skipped methods with their reasons."""
    first = panel.explanations[0]
    alone = len(panel.explanations) == 1 and len(first) == 1
    texts = [caption(first) if alone else first.provenance.model]
    texts += [scale_text()]
    texts += [f"skipped {name}: {reason}" for name, reason in panel.skipped]
    return [line for text in texts for line in textwrap.wrap(text, 46 * columns)]
