"""Channel selectivity as a figure, as JSON data and as text."""

import math
import textwrap
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F

from seewhy.attribution.drawing import draw
from seewhy.evaluation.selectivity import RANKS, ChannelSelectivity, Finding, Similarity, degree
from seewhy.show.drawing import draw_over
from seewhy.show.figure_grid import (
    HEADER,
    IMAGE_WIDTH,
    FigureGrid,
    clip,
    draw_map,
    write_below,
    write_beside,
    write_title,
)
from seewhy.show.jsonable import jsonable
from seewhy.show.overlay import rgb
from seewhy.show.text import joined, number, percent, picture_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PICTURES = 4  # in one figure
COLUMNS = 2 + len(RANKS)  # text or the picture, the maps, text
WIDE, NARROW = 46, 40  # characters per column, in the caption and beside maps
INACTIVE = "the channel is inactive here"
HINT = (
    "The maps below explain these channels. Maps that are much more similar than the activations "
    "are not specific to the channel."
)


def text(comparison: ChannelSelectivity) -> str:
    """Describe the comparison, with one line per method."""
    pictures = len(comparison.batch)
    verdicts = _verdicts(comparison)
    width = max(len(name) for name, _ in verdicts)
    lines = [
        f"layer     {comparison.layer} of {comparison.model}, channels by their {comparison.by}; "
        f"{pictures} picture{'' if pictures == 1 else 's'}"
    ]
    if pictures == 1:
        lines += [f"channels  {'; '.join(_channel_text(comparison, 0, rank) for rank in range(3))}"]
    lines += [f"{name:<{width}}  {verdict}" for name, verdict in verdicts]
    lines += [f"left out {name}: {reason}" for name, reason in comparison.skipped]
    return joined(lines)


def figure(comparison: ChannelSelectivity) -> "Figure":
    """Draw the activations of each picture, followed by one row of maps per method.

    There is one column per channel; the last column describes how similar the maps of a row are.
    Only the first few pictures are drawn.
    """
    drawn = min(len(comparison.batch), MAX_PICTURES)
    lines = 1 + len(comparison)
    caption = _caption(comparison)
    height, width = comparison.batch.pixels.shape[-2:]
    headers = [HEADER, *[0.0] * len(comparison)] * drawn
    grid = FigureGrid(COLUMNS, headers, IMAGE_WIDTH * height / width, len(caption))
    for picture in range(drawn):
        _draw_activations(grid, comparison, picture, picture * lines)
        for row, finding in enumerate(comparison):
            _draw_finding(grid, finding, picture, picture * lines + 1 + row)
    grid.write_caption(caption)
    return grid.figure


def data(comparison: ChannelSelectivity) -> dict[str, Any]:
    """Return the channels and the measurements of every method as JSON data; NaN becomes None."""
    pictures = [
        {
            "source": picture.source,
            "channels": [
                {"rank": rank, "channel": channel, "activation": activation}
                for rank, channel, activation in zip(RANKS, channels, activations, strict=True)
            ],
        }
        for picture, channels, activations in zip(
            comparison.batch.pictures,
            comparison.channels.tolist(),
            comparison.activations.tolist(),
            strict=True,
        )
    ]
    methods = [
        {
            "method": finding.method,
            "parameters": finding.explanations[0].provenance.parameters,
            "layer": finding.explanations[0].provenance.layer,
            "verdict": finding.verdict,
        }
        | _numbers(finding.similarity)
        for finding in comparison
    ]
    values = {
        "model": comparison.model,
        "layer": comparison.layer,
        "by": comparison.by,
        "seed": comparison.seed,
        "pictures": pictures,
        "activations": _numbers(comparison.similarity),
        "methods": methods,
        "skipped": [{"method": name, "reason": why} for name, why in comparison.skipped],
    }
    return jsonable(values)


def _numbers(similarity: Similarity) -> dict[str, Any]:
    """Return the similarity of the most active channel's map to the two others, per picture."""
    return {
        "rank_correlation": dict(zip(RANKS[1:], similarity.correlation.T.tolist(), strict=True)),
        "top_overlap": dict(zip(RANKS[1:], similarity.overlap.T.tolist(), strict=True)),
    }


def _draw_activations(
    grid: FigureGrid, comparison: ChannelSelectivity, picture: int, line: int
) -> None:
    """Draw the picture and the activation of each of its channels."""
    pixels = comparison.batch.pixels[picture].detach().cpu()
    axes = grid.image(rgb(pixels), line, 0)
    write_title(axes, f"{comparison.layer} of {comparison.model}", "the picture")
    write_below(axes, clip(picture_name(comparison.batch.pictures[picture]), WIDE))
    maps = F.interpolate(
        comparison.maps[picture][:, None], pixels.shape[-2:], mode="bilinear", align_corners=False
    )[:, 0]
    signed = bool((comparison.maps[picture] < 0).any())
    for rank, raw in enumerate(maps):
        value = number(float(comparison.activations[picture, rank]))
        title = f"{RANKS[rank]}: channel {int(comparison.channels[picture, rank])}"
        small = f"its activation, {comparison.by} {value}"
        drawing = draw_over(pixels, raw, signed)
        draw_map(grid, drawing, signed, line, 1 + rank, title, small, if_zero=INACTIVE)
    words = [*_similarity_lines(comparison.similarity, picture), "", *textwrap.wrap(HINT, NARROW)]
    write_beside(grid, line, COLUMNS - 1, "the activations themselves", words)


def _draw_finding(grid: FigureGrid, finding: Finding, picture: int, line: int) -> None:
    first = finding.explanations[0]
    question = textwrap.wrap(first.provenance.question, NARROW)
    reads = [f"reads {first.provenance.layer}"] if first.provenance.layer else []
    write_beside(grid, line, 0, finding.method, [*question, *reads])
    for rank, explanation in enumerate(finding.explanations):
        drawing = draw(explanation, picture)
        draw_map(grid, drawing, explanation.signed, line, 1 + rank)
    title = degree(finding.similarity.mean(picture))
    write_beside(grid, line, COLUMNS - 1, title, _similarity_lines(finding.similarity, picture))


def _similarity_lines(similarity: Similarity, picture: int) -> list[str]:
    """Describe how similar the map of the most active channel is to the others."""
    lines = []
    for column, rank in enumerate(RANKS[1:]):
        correlation = float(similarity.correlation[picture, column])
        overlap = float(similarity.overlap[picture, column])
        lines += [f"most active and {rank}:"]
        if math.isnan(correlation):
            lines += ["    a map is empty"]
            continue
        lines += [f"    rank correlation {correlation:.2f}".replace("-", "−")]
        if not math.isnan(overlap):
            lines += [f"    strongest 5 %: {percent(overlap)} in common"]
    return lines


def _channel_text(comparison: ChannelSelectivity, picture: int, rank: int) -> str:
    channel, value = comparison.channels[picture, rank], comparison.activations[picture, rank]
    return f"{RANKS[rank]} {int(channel)} ({number(float(value))})"


def _verdicts(comparison: ChannelSelectivity) -> list[tuple[str, str]]:
    """Return (name, verdict) of the activations, for reference, and of each method."""
    mean = comparison.similarity.mean()
    correlation = f"rank correlation {mean:.2f} between these channels".replace("-", "−")
    inactive = "nothing to compare: the other channels are inactive"
    first = ("activations", inactive if math.isnan(mean) else correlation)
    return [first, *((finding.method, finding.verdict) for finding in comparison)]


def _caption(comparison: ChannelSelectivity) -> list[str]:
    """Return the caption: each method's verdict over all pictures, and the skipped methods."""
    pictures, texts = len(comparison.batch), []
    if pictures > MAX_PICTURES:
        texts += [f"The first {MAX_PICTURES} of {pictures} pictures; over all of them:"]
    texts += [f"{name}: {verdict}" for name, verdict in _verdicts(comparison)]
    texts += [f"skipped {name}: {reason}" for name, reason in comparison.skipped]
    return [line for text in texts for line in textwrap.wrap(text, WIDE * COLUMNS)]
