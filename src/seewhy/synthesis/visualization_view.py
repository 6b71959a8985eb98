"""Visualisations as a figure, as JSON data and as text."""

import textwrap
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from seewhy.show.cards import Card
from seewhy.show.cards import page as cards_page
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
from seewhy.show.text import name_of, number
from seewhy.synthesis.evidence import TOP
from seewhy.synthesis.transparency import over
from seewhy.synthesis.visualization import Visualization

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_ROW = 6
WIDE = 46  # characters per column
WEAK = 0.95  # share of photographs that score lower, below which a picture is not to be relied on


def text(result: Visualization) -> str:
    """Describe how the pictures were made, and what each of them can be trusted for."""
    lines = [f"model     {result.model}", f"made by   {result.recipe}"]
    lines += [f"{result.targets[i]}: {verdict(result, i)}" for i in range(len(result))]
    if result.natural is not None:
        lines += [f"left out  {reason}" for reason in result.natural.left_out]
    lines += [f"note      {note}" for note in result.notes]
    return "\n".join(lines)


def verdict(result: Visualization, index: int) -> str:
    """Return, in words, what the measurements say of one picture."""
    score, unseen = float(result.score[index]), float(result.unseen[index])
    parts = [f"score {number(score)}, {number(unseen)} when transformed"]
    if result.exceeds is not None and result.natural is not None:
        parts.append(_beside_photographs(float(result.exceeds[index]), len(result.natural)))
    if result.agreement is not None and bool(result.agreement[index].isfinite()):
        parts.append(f"cosine {number(float(result.agreement[index]))} with other seeds")
    if result.unlike is not None:
        unlike = number(float(result.unlike[index]))
        parts.append(f"its features are {unlike} times as far from photographs' as theirs are")
    for network, seen in (("the network", result.seen), (result.judge, result.judged)):
        if seen is not None and seen[index] is not None:
            parts.append(f"{network} {'sees' if seen[index] else 'does not see'} the class in it")
    return "; ".join(parts)


def _beside_photographs(share: float, count: int) -> str:
    if share == 1:
        return f"more than all {count} photographs"
    below = round(share * count)
    if not below:
        return "nothing was found that activates it"
    if share >= WEAK:
        return f"more than {below} of {count} photographs"
    return f"weak: only more than {below} of {count} photographs; do not rely on this picture"


def figure(result: Visualization) -> "Figure":
    """Draw the pictures in rows, each with its target and its score beside photographs."""
    columns = min(PER_ROW, len(result))
    rows = -(-len(result) // columns)
    height, width = result.pictures.shape[2:]
    caption = textwrap.wrap(_caption(result), WIDE * columns)
    grid = FigureGrid(columns, [HEADER] * rows, IMAGE_WIDTH * height / width, len(caption))
    for i, picture in enumerate(_opaque(result)):
        axes = grid.image(rgb(picture), i // columns, i % columns)
        write_title(axes, clip(result.targets[i], WIDE), f"score {number(float(result.score[i]))}")
        write_below(axes, clip(_short(result, i), WIDE))
    grid.write_caption(caption)
    return grid.figure


def _short(result: Visualization, index: int) -> str:
    if result.exceeds is not None:
        return f"above {float(result.exceeds[index]):.1%} of photographs"
    return f"{number(float(result.unseen[index]))} when transformed"


def _caption(result: Visualization) -> str:
    natural = result.natural
    compared = "" if natural is None else f", compared with {len(natural)} photographs"
    judged = f" {result.judge} was asked, too." if result.judge else ""
    return (
        f"{result.model}: pictures that maximise the targets ({result.recipe}){compared}. "
        "They show one way to excite a unit, exaggerated; photographs show what it responds to in "
        "practice."
        f"{judged}"
    )


def page(result: Visualization) -> str:
    """Return a page with a card for each picture."""
    each = []
    for i, picture in enumerate(_opaque(result)):
        weak = result.exceeds is not None and float(result.exceeds[i]) < WEAK
        lines = verdict(result, i).split("; ")
        each.append(Card(rgb(picture), result.targets[i], tuple(lines), weak))
    return cards_page(f"What {result.model} wants to see", [_caption(result)], each)


def _opaque(result: Visualization) -> Float[Tensor, "count c h w"]:
    """Return the pictures, over white where they have an alpha channel."""
    return over(result.pictures, 1.0) if result.transparent else result.pictures


def data(result: Visualization) -> dict[str, Any]:
    """Return the measurements of each picture as JSON data."""
    natural = result.natural
    pictures = [
        {
            "target": result.targets[i],
            "seed": result.seeds[i],
            "steps": int(result.steps[i]),
            "score": float(result.score[i]),
            "unseen": float(result.unseen[i]),
            "above_photographs": None if result.exceeds is None else float(result.exceeds[i]),
            "best_photographs": None if natural is None else _best(result, i),
            "agreement": None if result.agreement is None else float(result.agreement[i]),
            "unlike_photographs": None if result.unlike is None else float(result.unlike[i]),
            f"in_top_{TOP}": result.seen and result.seen[i],
            f"in_top_{TOP}_of_judge": result.judged and result.judged[i],
        }
        for i in range(len(result))
    ]
    return jsonable(
        {
            "model": result.model,
            "recipe": result.recipe,
            "judge": result.judge or None,
            "photographs": None if natural is None else len(natural),
            "left_out": () if natural is None else natural.left_out,
            "pictures": pictures,
            "notes": result.notes,
        }
    )


def _best(result: Visualization, index: int) -> list[dict[str, Any]]:
    assert result.natural is not None
    return [
        {
            "source": name_of(result.natural.sources[n]),
            "score": float(result.natural.scores[n, index]),
        }
        for n in result.natural.best(index, TOP)
    ]
