"""Inversions as a figure, as JSON data and as text."""

import textwrap
from typing import TYPE_CHECKING, Any

from seewhy.show.figure_grid import (
    HEADER,
    IMAGE_WIDTH,
    FigureGrid,
    clip,
    write_below,
    write_title,
)
from seewhy.show.jsonable import jsonable
from seewhy.show.overlay import rgb
from seewhy.show.text import joined, name_of, number, percent
from seewhy.synthesis.inversion import Inversion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 46  # characters per column
WELL = 0.05  # a relative error below which the representations agree


def text(result: Inversion) -> str:
    """Describe how well the pictures match, layer by layer."""
    lines = [f"model     {result.model}", f"picture   {name_of(result.source)}"]
    lines.append(f"prior     {result.prior}; {result.steps} steps")
    if result.kept is not None:
        lines.append(f"channels  only {len(result.kept)} have to match")
    lines += [f"{result.layers[i]}: {_described(result, i)}" for i in range(len(result))]
    return joined([*lines, *(f"note      {note}" for note in result.notes)])


def _described(result: Inversion, layer: int) -> str:
    error = float(result.error[layer].mean())
    parts = [f"relative error {number(error)}" + ("" if error <= WELL else ", not matched")]
    if len(result.seeds) > 1:
        parts.append(f"pictures differ by {number(float(result.spread[layer]))} a pixel")
    if result.closeness is not None:
        near = float(result.closeness[layer].mean())
        parts.append(f"cosine {number(near)} with the original in the features of {result.judge}")
    return "; ".join(parts)


def figure(result: Inversion) -> "Figure":
    """Draw the original and, layer by layer, the pictures with the same representation."""
    count = len(result.seeds)
    columns = 1 + (len(result) if count == 1 else count)
    rows = 1 if count == 1 else len(result)
    caption = textwrap.wrap(_caption(result), WIDE * columns)
    height, width = result.original.shape[1:]
    grid = FigureGrid(columns, [HEADER] * rows, IMAGE_WIDTH * height / width, len(caption))
    axes = grid.image(rgb(result.original), 0, 0)
    write_title(axes, clip(name_of(result.source), WIDE), "original")
    for layer in range(len(result)):
        for restart in range(count):
            row, column = (0, 1 + layer) if count == 1 else (layer, 1 + restart)
            axes = grid.image(rgb(result.pictures[layer, restart]), row, column)
            error = f"error {percent(float(result.error[layer, restart]))}"
            write_title(axes, clip(result.layers[layer], WIDE), error)
            if result.closeness is not None:
                near = number(float(result.closeness[layer, restart]))
                write_below(axes, f"cosine {near} in {clip(result.judge, 24)}")
    grid.write_caption(caption)
    return grid.figure


def _caption(result: Inversion) -> str:
    return (
        f"{result.model}: pictures with the same representation ({result.prior} prior, "
        f"{result.steps} steps). What differs from the original, or between pictures of one layer, "
        "is what the layer does not determine, or what the prior fills in."
    )


def data(result: Inversion) -> dict[str, Any]:
    """Return the errors as JSON data."""
    layers = [
        {
            "layer": name,
            "error": result.error[i].tolist(),
            "spread": float(result.spread[i]),
            "closeness": None if result.closeness is None else result.closeness[i].tolist(),
        }
        for i, name in enumerate(result.layers)
    ]
    return jsonable(
        {
            "model": result.model,
            "source": result.source,
            "prior": result.prior,
            "steps": result.steps,
            "seeds": result.seeds,
            "channels": result.kept,
            "judge": result.judge or None,
            "layers": layers,
            "notes": result.notes,
        }
    )
