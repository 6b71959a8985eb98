"""Examples as a figure, as a page, as JSON data and as text."""

import textwrap
from typing import TYPE_CHECKING, Any

from seewhy.activations.examples import Examples
from seewhy.show.cards import Card
from seewhy.show.cards import page as cards_page
from seewhy.show.figure_grid import HEADER, IMAGE_WIDTH, FigureGrid, clip, write_title
from seewhy.show.jsonable import jsonable
from seewhy.show.text import joined, name_of, number, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 46  # characters per column


def text(result: Examples) -> str:
    """Describe the range of the activation, and name the photographs of each group."""
    lines = [f"unit      {result.unit} of {result.model}"]
    lines.append(f"active    in {percent(result.active)} of {len(result)} photographs")
    for name, ranks in zip(result.groups, result.shown, strict=True):
        listed = [
            f"{name_of(result.sources[r])} {number(float(result.activation[r]))}" for r in ranks
        ]
        lines.append(f"{name}: {', '.join(listed)}")
    lines += [f"left out  {reason}" for reason in result.left_out]
    return joined([*lines, *(f"note      {note}" for note in result.notes)])


def figure(result: Examples) -> "Figure":
    """Draw a row of crops for each group."""
    columns = max(len(ranks) for ranks in result.shown)
    caption = textwrap.wrap(_caption(result), WIDE * columns)
    grid = FigureGrid(columns, [HEADER] * len(result.groups), IMAGE_WIDTH, len(caption))
    crops = iter(result.crops)
    for line, (name, ranks) in enumerate(zip(result.groups, result.shown, strict=True)):
        for column, rank in enumerate(ranks):
            axes = grid.image(next(crops), line, column)
            title = clip(name_of(result.sources[rank]), WIDE)
            write_title(axes, title, f"{name}: {number(float(result.activation[rank]))}")
    grid.write_caption(caption)
    return grid.figure


def page(result: Examples) -> str:
    """Return a page with a card for each shown photograph."""
    crops, cards = iter(result.crops), []
    for name, ranks in zip(result.groups, result.shown, strict=True):
        for rank in ranks:
            lines = (f"{name}: {number(float(result.activation[rank]))}",)
            cards.append(Card(next(crops), name_of(result.sources[rank]), lines))
    return cards_page(f"What {result.unit} responds to", [_caption(result)], cards)


def _caption(result: Examples) -> str:
    height, width = result.field
    return (
        f"{result.unit} of {result.model} over {len(result)} photographs, active in "
        f"{percent(result.active)} of them. Each crop is the part around the peak that the unit "
        f"depends on, {height} x {width} pixels of the model's input."
    )


def data(result: Examples) -> dict[str, Any]:
    """Return the activations and the photographs of each group as JSON data."""
    groups = [
        {
            "name": name,
            "photographs": [
                {"source": result.sources[r], "activation": float(result.activation[r])}
                for r in ranks
            ],
        }
        for name, ranks in zip(result.groups, result.shown, strict=True)
    ]
    return jsonable(
        {
            "model": result.model,
            "unit": result.unit,
            "photographs": len(result),
            "active": result.active,
            "receptive_field": result.field,
            "activation": result.activation.tolist(),
            "groups": groups,
            "left_out": result.left_out,
            "notes": result.notes,
        }
    )
