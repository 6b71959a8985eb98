"""Sufficiency curves as a figure, as JSON data and as text."""

import math
import textwrap
from typing import TYPE_CHECKING, Any

from seewhy.evaluation.sufficiency import SufficiencyCurve, checked_share
from seewhy.perturbation.perturbations import PYRAMID
from seewhy.show.figure_grid import (
    FAINT,
    HEADER,
    IMAGE_WIDTH,
    INK,
    FigureGrid,
    clip,
    write_below,
    write_title,
)
from seewhy.show.glyphs import LITERAL
from seewhy.show.jsonable import jsonable
from seewhy.show.overlay import rgb
from seewhy.show.text import joined, number, picture_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 46  # characters per column
MAX_PER_ROW = 5  # areas beside a picture, before they wrap
SHOWN = 50  # pictures in a figure; with more, the image would be too large
ENOUGH = "#d9480f"
APART = 0.11  # minimum distance between two tick labels, as a fraction of the axis


def text(curve: SufficiencyCurve, share: float = 0.5) -> str:
    """Describe the model, the probability that each area keeps, per picture, and the mean."""
    lines = [f"model     {curve.model}"]
    for i, picture in enumerate(curve.batch.pictures):
        whole = _probability(float(curve.whole[i]))
        smallest = _smallest(curve, i, share)
        suffices = (
            f"no area is enough for {_share(share)}"
            if smallest is None
            else f"{_area(curve.areas[smallest])} are enough for {_share(share)}"
        )
        lines.append(
            f"{picture_name(picture)}: {curve.targets[i]} {whole}; "
            f"{_kept(curve, curve.kept[i].tolist())}; {suffices}"
        )
    if len(curve) > 1:
        whole = _probability(float(curve.whole.mean()))
        lines.append(f"mean      {whole}; {_kept(curve, curve.kept.mean(0).tolist())}")
    lines += [f"note      {note}" for note in curve.notes]
    return joined(lines)


def figure(curve: SufficiencyCurve, share: float = 0.5) -> "Figure":
    """Draw a figure with one row per picture: its visible parts, and the curve."""
    checked_share(share)
    height, width = curve.batch.pixels.shape[-2:]
    lines = math.ceil(len(curve.areas) / MAX_PER_ROW)
    per_row = math.ceil(len(curve.areas) / lines)
    shown = min(len(curve), SHOWN)
    caption = textwrap.wrap(_caption(curve), WIDE * (2 + per_row))
    grid = FigureGrid(
        2 + per_row, [HEADER] * (shown * lines), IMAGE_WIDTH * height / width, len(caption)
    )
    for picture in range(shown):
        first = picture * lines
        smallest = _smallest(curve, picture, share)
        _draw_picture(grid, curve, picture, first)
        for index, area in enumerate(_ascending(curve)):
            line, column = first + index // per_row, 1 + index % per_row
            _draw_seen(grid, curve, picture, area, area == smallest, line, column)
        _draw_curve(grid, curve, picture, smallest, share, first, 1 + per_row)
    grid.write_caption(caption)
    return grid.figure


def _draw_picture(grid: FigureGrid, curve: SufficiencyCurve, picture: int, line: int) -> None:
    """Draw the whole picture, with its class and the class probability."""
    axes = grid.image(rgb(curve.batch.pixels[picture].detach().cpu()), line, 0)
    value = _probability(float(curve.whole[picture]))
    title = f"{clip(curve.targets[picture], 33 - len(value))} {value}"
    write_title(axes, title, "the whole picture")
    write_below(axes, clip(picture_name(curve.batch.pictures[picture]), WIDE))


def _draw_seen(
    grid: FigureGrid,
    curve: SufficiencyCurve,
    picture: int,
    area: int,
    enough: bool,
    line: int,
    column: int,
) -> None:
    """Draw the network's input, with a frame around the smallest area that is enough."""
    axes = grid.image(rgb(curve.seen(picture, area)), line, column)
    kept = _probability(float(curve.kept[picture, area]))
    title = f"{_area(curve.areas[area])} keep {kept}"
    write_title(axes, title, "the smallest that is enough" if enough else "")
    if enough:
        from matplotlib.patches import Rectangle

        frame = Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, clip_on=False)
        frame.set(edgecolor=ENOUGH, linewidth=2.5)
        axes.add_patch(frame)
        axes.texts[-1].set_color(ENOUGH)


def _draw_curve(
    grid: FigureGrid,
    curve: SufficiencyCurve,
    picture: int,
    smallest: int | None,
    share: float,
    line: int,
    column: int,
) -> None:
    """Plot the probability against the area, on a logarithmic axis up to the whole picture."""
    axes = grid.axes(line, column, 0.0, grid.image_height, narrow=0.32)
    order, whole = _ascending(curve), float(curve.whole[picture])
    areas = [100 * curve.areas[i] for i in order]
    kept = [float(curve.kept[picture, i]) for i in order]
    axes.plot([*areas, 100], [*kept, whole], color=INK, linewidth=1.2)
    axes.plot(areas, kept, "o", color=INK, markersize=4)
    axes.plot([100], [whole], "o", color=INK, markerfacecolor="white", markersize=5, clip_on=False)
    _draw_level(axes, whole, "-", "whole", left=True)
    _draw_level(axes, share * whole, "--", _share(share), left=False)
    if smallest is not None:
        point = 100 * curve.areas[smallest], float(curve.kept[picture, smallest])
        axes.plot([point[0]] * 2, [0, point[1]], color=ENOUGH, linewidth=1)
        axes.plot(*point, "o", color=ENOUGH, markersize=6)
    _format_axes(axes, areas, max([*kept, whole]))
    title = "no area is enough" if smallest is None else f"enough: {_area(curve.areas[smallest])}"
    write_title(axes, title, f"to keep {_share(share)} of {_probability(whole)}")


def _draw_level(axes: "Axes", height: float, style: str, label: str, left: bool) -> None:
    """Draw a horizontal line at a probability, with a label at one end."""
    axes.axhline(height, linestyle=style, color=FAINT, linewidth=0.7, zorder=0)
    axes.annotate(
        label,
        (0.02 if left else 0.98, height),
        xycoords=("axes fraction", "data"),
        xytext=(0, 1.5),
        textcoords="offset points",
        ha="left" if left else "right",
        fontsize=6.5,
        color=FAINT,
        **LITERAL,
    )


def _format_axes(axes: "Axes", areas: list[float], most: float) -> None:
    """Format the axes, with as many tick labels as fit."""
    low = 0.85 * areas[0]
    axes.set_xscale("log")
    axes.set_xlim(low, 100)
    axes.set_ylim(0, 1.12 * most or 1)
    span, labelled = math.log(100 / low), [100.0]
    for area in reversed(areas):
        if math.log(labelled[-1] / area) > APART * span:
            labelled.append(area)
    axes.set_xticks(labelled, [number(area) for area in labelled], **LITERAL)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("visible, % of the picture", fontsize=7, color=FAINT, labelpad=1, **LITERAL)
    axes.tick_params(labelsize=6.5, length=2, width=0.5, pad=1.5, color=FAINT, labelcolor=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=FAINT, linewidth=0.5)


def _caption(curve: SufficiencyCurve) -> str:
    """Return the caption of the figure."""
    hidden = "blurred" if curve.baseline in (PYRAMID, "blur") else f"faded to {curve.baseline}"
    more = len(curve) - SHOWN
    rest = f" {more} more {'picture is' if more == 1 else 'pictures are'} not shown." * (more > 0)
    return (
        f"{curve.model}: the parts of the picture with the given areas that best preserve its "
        f"class; the rest is {hidden} in the network's input. Above each part: its area and the "
        f"probability that it keeps. Right: that probability against the area.{rest}"
    )


def data(curve: SufficiencyCurve, share: float = 0.5) -> dict[str, Any]:
    """Return the areas and the probabilities that they keep, as JSON data."""
    smallest = [_smallest(curve, i, share) for i in range(len(curve))]
    pictures = [
        {
            "source": picture.source,
            "target": curve.targets[i],
            "whole": float(curve.whole[i]),
            "kept": curve.kept[i],
            "enough": None if area is None else curve.areas[area],
        }
        for i, (picture, area) in enumerate(zip(curve.batch.pictures, smallest, strict=True))
    ]
    return jsonable(
        {
            "model": curve.model,
            "areas": curve.areas,
            "share": share,
            "hidden": curve.baseline,
            "pictures": pictures,
            "notes": curve.notes,
        }
    )


def _smallest(curve: SufficiencyCurve, picture: int, share: float) -> int | None:
    """Return the index of the smallest area that is enough, if any."""
    suffices = curve.suffices(share)[picture]
    return next((i for i in _ascending(curve) if suffices[i]), None)


def _ascending(curve: SufficiencyCurve) -> list[int]:
    """Return the indices of the areas, smallest first."""
    return sorted(range(len(curve.areas)), key=lambda i: curve.areas[i])


def _kept(curve: SufficiencyCurve, kept: list[float]) -> str:
    """Describe the probability that each area keeps."""
    return ", ".join(
        f"{_area(area)} keep {_probability(value)}"
        for area, value in zip(curve.areas, kept, strict=True)
    )


def _area(area: float) -> str:
    return f"{number(100 * area)} %"


def _probability(value: float) -> str:
    """Format a probability with two decimals, or one significant digit if it is small."""
    return f"{value:.2f}" if value >= 0.095 or not value else f"{value:.1g}".replace("-", "−")


def _share(share: float = 0.5) -> str:
    return "half" if share == 0.5 else f"{number(100 * share)} %"
