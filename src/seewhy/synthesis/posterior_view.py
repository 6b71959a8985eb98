"""Posterior samples as a figure, as JSON data and as text."""

import math
import textwrap
from typing import TYPE_CHECKING, Any

from seewhy.show.figure_grid import HEADER, IMAGE_WIDTH, FigureGrid, clip, write_title
from seewhy.show.jsonable import jsonable
from seewhy.show.overlay import rgb
from seewhy.show.text import joined, number, percent
from seewhy.synthesis.posterior import Posterior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 46  # characters per column
SHOWN = 4  # samples of each chain
MIXED, FEW = 1.1, 0.1  # the Gelman-Rubin statistic; the fraction of accepted proposals


def text(result: Posterior) -> str:
    """Describe the samples, and whether they can be relied on."""
    chains, count = result.misfit.shape
    lines = [f"model     {result.model}", f"given     {result.what}"]
    lines.append(f"samples   {count} of each of {chains} chains")
    lines.append(f"misfit    {number(float(result.misfit.mean()))} on average")
    lines.append(f"spread    {number(float(result.spread.mean()))} a pixel")
    lines.append(f"chains    {verdict(result)}")
    return joined(lines)


def verdict(result: Posterior) -> str:
    """Return, in words, whether the chains have mixed."""
    few = float(result.accepted.min())
    said = f"at least {percent(few)} of the proposals accepted"
    if few < FEW:
        return f"{said}: too few; use more noise or a longer warm-up"
    if math.isnan(result.mixing):
        return f"{said}; with a single chain nothing says whether it has mixed"
    mixing = f"Gelman-Rubin statistic {result.mixing:.2f}"
    if result.mixing > MIXED:
        return f"{said}; {mixing}: not mixed yet, take more samples further apart"
    return f"{said}; {mixing}: mixed"


def figure(result: Posterior) -> "Figure":
    """Draw the original and, for each chain, a few samples; last the spread."""
    chains, count = result.misfit.shape
    columns = 1 + min(SHOWN, count)
    caption = textwrap.wrap(
        f"{result.model}: samples of pictures that fit {result.what}, by Langevin dynamics; each "
        f"row is a chain. {verdict(result)}.",
        WIDE * columns,
    )
    height, width = result.samples.shape[-2:]
    grid = FigureGrid(
        columns, [HEADER] * max(2, chains), IMAGE_WIDTH * height / width, len(caption)
    )
    if result.original is not None:
        write_title(grid.image(rgb(result.original), 0, 0), "original", "")
    spread = result.spread[None] / max(float(result.spread.max()), 1e-12)
    small = f"up to {number(float(result.spread.max()))}"
    write_title(grid.image(rgb(spread), 1, 0), "spread of a pixel", small)
    for chain in range(chains):
        for column in range(columns - 1):
            which = round(column * (count - 1) / max(1, columns - 2))
            axes = grid.image(rgb(result.samples[chain, which]), chain, 1 + column)
            misfit = f"misfit {number(float(result.misfit[chain, which]))}"
            write_title(axes, clip(f"chain {chain + 1}, sample {which + 1}", WIDE), misfit)
    grid.write_caption(caption)
    return grid.figure


def data(result: Posterior) -> dict[str, Any]:
    """Return the measurements as JSON data."""
    return jsonable(
        {
            "model": result.model,
            "given": result.what,
            "noise": result.noise,
            "seed": result.seed,
            "accepted": result.accepted.tolist(),
            "mixing": result.mixing,
            "misfit": result.misfit.tolist(),
            "spread": float(result.spread.mean()),
            "verdict": verdict(result),
        }
    )
