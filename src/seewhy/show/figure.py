"""Figures to keep or to print: the picture, and beside it what each method says.

How they are laid out and drawn is in `seewhy.show.sheet`.
"""

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from seewhy.explanation import Explanation, Panel
from seewhy.show.drawing import as_panel, draw
from seewhy.show.overlay import rgb
from seewhy.show.sheet import (
    HEADER,
    IMAGE_WIDTH,
    Sheet,
    clip,
    draw_map,
    png_bytes,
    write_below,
    write_title,
)
from seewhy.show.text import (
    caption,
    layer_text,
    number,
    smoothing_text,
    source_name,
    target_text,
)
from seewhy.writing import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ABREAST = 4  # maps beside one picture, before they wrap


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
    headers = [HEADER] * (len(first) * lines_each)
    sheet = Sheet(1 + abreast, headers, IMAGE_WIDTH * height / width, len(foot))
    for index in range(len(first)):
        _draw_picture(sheet, first, index, line=index * lines_each)
        for place, explanation in enumerate(panel.explanations):
            line, column = divmod(place, abreast)
            _draw_map(sheet, explanation, index, index * lines_each + line, 1 + column)
    sheet.write_foot(foot)
    return sheet.figure


def explanation_png_bytes(thing: Explanation | Panel, dpi: int = 150) -> bytes:
    """The figure as the bytes of a PNG file."""
    return png_bytes(figure(thing), dpi)


def save_png(thing: Explanation | Panel, path: str | Path, dpi: int = 150) -> None:
    """Write the figure to `path` as PNG, whole or not at all."""
    write_bytes(path, explanation_png_bytes(thing, dpi))


def _draw_picture(sheet: Sheet, explanation: Explanation, index: int, line: int) -> None:
    """The picture as the model saw it, with the predicted class above and its name below."""
    name, value = explanation.top(1)[index][0]
    axes = sheet.image(rgb(explanation.batch.pixels[index].detach().cpu()), line, 0)
    said = f"= {number(value)}" if explanation.raw else f"{value:.2f}"
    write_title(axes, f"{clip(name, 33 - len(said))} {said}", _what_is_first(explanation))
    foot = [source_name(explanation, index)]
    if explanation.logits[index].argmax() != explanation.target[index]:
        foot.append(f"explained: {target_text(explanation, index)}")
    write_below(axes, "\n".join(clip(text, 44) for text in foot))


def _what_is_first(explanation: Explanation) -> str:
    if not explanation.raw:
        return "predicted"
    return "highest score" if explanation.logits.shape[1] > 1 else "score"


def _draw_map(sheet: Sheet, explanation: Explanation, index: int, line: int, column: int) -> None:
    """A map over its picture, with the method's name above."""
    small = layer_text(explanation) or smoothing_text(explanation)
    drawing = draw(explanation, index)
    draw_map(sheet, drawing, explanation.signed, line, column, explanation.method, small)


def _foot(panel: Panel, columns: int) -> list[str]:
    """The caption, and the skipped methods with their reasons."""
    first = panel.explanations[0]
    alone = len(panel.explanations) == 1 and len(first) == 1
    texts = [caption(first) if alone else first.provenance.model]
    texts += [f"skipped {name}: {reason}" for name, reason in panel.skipped]
    return [line for text in texts for line in textwrap.wrap(text, 46 * columns)]
