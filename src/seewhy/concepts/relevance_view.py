"""Channel relevance as a figure, as JSON data and as text."""

import textwrap
from typing import TYPE_CHECKING, Any

from seewhy.attribution.drawing import display_sigma, draw
from seewhy.concepts.relevance import ChannelRelevance
from seewhy.show.drawing import draw_over
from seewhy.show.figure_grid import (
    HEADER,
    IMAGE_WIDTH,
    FigureGrid,
    clip,
    draw_map,
    write_below,
    write_title,
)
from seewhy.show.jsonable import jsonable
from seewhy.show.overlay import rgb
from seewhy.show.text import joined, percent, picture_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PER_ROW = 5  # channels beside a picture and its map, before they wrap
WIDE = 46  # characters per column


def text(result: ChannelRelevance) -> str:
    """Describe the layer and, on one line per picture, its most relevant channels and shares."""
    explanation = result.explanation
    lines = [f"layer     {result.layer} of {explanation.provenance.model}, by {explanation.method}"]
    rows = zip(explanation.batch.pictures, explanation.target_names, result.top(), strict=True)
    for picture, target, channels in rows:
        shares = ", ".join(f"{address} {percent(share)}" for address, share in channels)
        lines.append(f"{picture_name(picture)}: {target}: {shares}")
    return joined(lines)


def figure(result: ChannelRelevance) -> "Figure":
    """Draw each picture, its map through all channels, and one map per channel."""
    count = result.channels.shape[1]
    per_row = min(count, MAX_PER_ROW)
    lines_per_picture = -(-count // per_row)
    height, width = result.maps.shape[-2:]
    caption = textwrap.wrap(
        f"{result.explanation.provenance.model}; {result.explanation.method}; shares of the "
        f"absolute relevance of {result.layer}",
        WIDE * (2 + per_row),
    )
    headers = [HEADER] * (len(result) * lines_per_picture)
    grid = FigureGrid(2 + per_row, headers, IMAGE_WIDTH * height / width, len(caption))
    for picture in range(len(result)):
        first = picture * lines_per_picture
        _draw_picture(grid, result, picture, first)
        for rank, (address, share) in enumerate(result.top()[picture]):
            line, column = divmod(rank, per_row)
            drawing = draw_over(
                result.explanation.batch.pixels[picture].detach().cpu(),
                result.maps[picture, rank],
                True,
                display_sigma(result.explanation),
            )
            small = f"{percent(share)} of the relevance"
            draw_map(grid, drawing, True, first + line, 2 + column, address, small)
    grid.write_caption(caption)
    return grid.figure


def data(result: ChannelRelevance) -> dict[str, Any]:
    """Return the channels and their shares as JSON data."""
    explanation = result.explanation
    rows = zip(explanation.batch.pictures, explanation.target_names, result.top(), strict=True)
    pictures = [
        {
            "source": picture.source,
            "target": target,
            "channels": [{"address": a, "share": share} for a, share in channels],
        }
        for picture, target, channels in rows
    ]
    values = {
        "model": explanation.provenance.model,
        "layer": result.layer,
        "method": explanation.method,
        "parameters": explanation.provenance.parameters,
        "pictures": pictures,
    }
    return jsonable(values)


def _draw_picture(grid: FigureGrid, result: ChannelRelevance, picture: int, line: int) -> None:
    explanation = result.explanation
    axes = grid.image(rgb(explanation.batch.pixels[picture].detach().cpu()), line, 0)
    write_title(axes, explanation.target_names[picture], "explained")
    write_below(axes, clip(picture_name(explanation.batch.pictures[picture]), WIDE))
    drawing = draw(explanation, picture)
    draw_map(grid, drawing, True, line, 1, "all channels", explanation.method)
