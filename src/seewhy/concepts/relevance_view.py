"""The channels that a decision draws on, as a figure, as numbers for other programs, in words."""

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
from seewhy.show.text import percent, picture_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ABREAST = 5  # channels beside one picture and its whole map, before they wrap
WIDE = 46  # letters in a column


def text(found: ChannelRelevance) -> str:
    """The layer, and a line a picture with its most relevant channels and their shares."""
    explanation = found.explanation
    lines = [f"layer     {found.layer} of {explanation.provenance.model}, by {explanation.method}"]
    rows = zip(explanation.batch.pictures, explanation.target_names, found.top(), strict=True)
    for picture, target, channels in rows:
        shares = ", ".join(f"{address} {percent(share)}" for address, share in channels)
        lines.append(f"{picture_name(picture)}: {target}: {shares}")
    return "\n".join(lines)


def figure(found: ChannelRelevance) -> "Figure":
    """A matplotlib figure: the picture, the map with all channels, and one through each channel."""
    count = found.channels.shape[1]
    per_row = min(count, MOST_ABREAST)
    lines_each = -(-count // per_row)
    height, width = found.maps.shape[-2:]
    caption = textwrap.wrap(
        f"{found.explanation.provenance.model}; {found.explanation.method}; shares of the "
        f"relevance of {found.layer}, positive and negative counted alike",
        WIDE * (2 + per_row),
    )
    headers = [HEADER] * (len(found) * lines_each)
    grid = FigureGrid(2 + per_row, headers, IMAGE_WIDTH * height / width, len(caption))
    for picture in range(len(found)):
        _draw_picture(grid, found, picture, picture * lines_each)
        for rank, (address, share) in enumerate(found.top()[picture]):
            line, column = divmod(rank, per_row)
            drawing = draw_over(
                found.explanation.batch.pixels[picture].detach().cpu(),
                found.maps[picture, rank],
                True,
                display_sigma(found.explanation),
            )
            small = f"{percent(share)} of the relevance"
            draw_map(grid, drawing, True, picture * lines_each + line, 2 + column, address, small)
    grid.write_caption(caption)
    return grid.figure


def data(found: ChannelRelevance) -> dict[str, Any]:
    """The channels and their shares, valid as JSON."""
    explanation = found.explanation
    rows = zip(explanation.batch.pictures, explanation.target_names, found.top(), strict=True)
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
        "layer": found.layer,
        "method": explanation.method,
        "parameters": explanation.provenance.parameters,
        "pictures": pictures,
    }
    return jsonable(values)


def _draw_picture(grid: FigureGrid, found: ChannelRelevance, picture: int, line: int) -> None:
    explanation = found.explanation
    axes = grid.image(rgb(explanation.batch.pixels[picture].detach().cpu()), line, 0)
    write_title(axes, explanation.target_names[picture], "explained")
    write_below(axes, clip(picture_name(explanation.batch.pictures[picture]), WIDE))
    drawing = draw(explanation, picture)
    draw_map(grid, drawing, True, line, 1, "all channels", explanation.method)
