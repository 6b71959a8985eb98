"""Extremal channels as a figure, as JSON data and as text."""

import textwrap
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.activations.exemplars import Exemplars
from seewhy.concepts.extremal_channels import ExtremalChannels, how_many
from seewhy.images.preparing import grey
from seewhy.show.figure_grid import (
    HEADER,
    IMAGE_WIDTH,
    FigureGrid,
    clip,
    write_below,
    write_beside,
    write_title,
)
from seewhy.show.jsonable import jsonable
from seewhy.show.overlay import rgb
from seewhy.show.text import joined, name_of, number, percent, picture_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNELS = 5  # shown beside a picture
CROP = 0.3  # side of a crop around the peak, as a fraction of the model's input
WIDE = 46  # characters per column
FINE = 360  # width of an enlarged crop in pixels, that of a cell in a PNG
SHORT = 0.2  # header height of a line without titles, in inches


def text(result: ExtremalChannels) -> str:
    """Describe the layer, the probability that each picture keeps, and the mean of a joint mask."""
    count = result.masks.shape[2]
    lines = [f"layer     {result.layer} of {result.model}, {count} channels"]
    for i, picture in enumerate(result.batch.pictures):
        kept = "; ".join(_kept_texts(result, i))
        whole = number(float(result.whole[i]))
        lines.append(f"{picture_name(picture)}: {result.targets[i]} {whole}; {kept}")
    if result.together and len(result) > 1:
        lines.append(_mean_text(result))
    if result.photographs:
        lines.append(f"crops     from {_photographs(result)}")
    lines += [f"left out  {reason}" for reason in result.exemplars.left_out]
    lines += [f"note      {note}" for note in result.notes]
    return joined(lines)


def figure(result: ExtremalChannels) -> "Figure":
    """Draw a figure with one row per picture: crops of what its best channels respond to.

    A crop shows where a channel is most active in the explained pictures. With `photographs` or
    `together`, each channel has several crops, one below the other.
    """
    share = result.shares[0]
    ranked = result.ranked(share)[:, :CHANNELS]
    height, width = result.batch.pixels.shape[-2:]
    rows, each = 1 if result.together else len(result), len(result.exemplars)
    caption = textwrap.wrap(_caption(result, share), WIDE * (1 + ranked.shape[1]))
    headers = ([HEADER] + [HEADER if result.together else SHORT] * (each - 1)) * rows
    grid = FigureGrid(1 + ranked.shape[1], headers, IMAGE_WIDTH * height / width, len(caption))
    for row in range(rows):
        shown = range(min(each, len(result))) if result.together else [row]
        for line, picture in enumerate(shown, start=row * each):
            _draw_picture(grid, result, picture, line, last=picture == shown[-1])
        if len(shown) < each and len(result.shares) > 1:
            texts = _mean_kept_texts(result) if result.together else _kept_texts(result, row)
            wrapped = [part for text in texts for part in textwrap.wrap(text, WIDE)]
            write_beside(grid, row * each + len(shown), 0, "", wrapped)
        for column, channel in enumerate(ranked[row].tolist(), start=1):
            for rank in range(each):
                _draw_crop(grid, result, channel, rank, row * each + rank, column)
    grid.write_caption(caption)
    return grid.figure


def _caption(result: ExtremalChannels, share: float = 0.5) -> str:
    """Return the caption of the figure."""
    count = result.masks.shape[2]
    mean = f" {_mean_text(result)}." if result.together and len(result) > 1 else ""
    return (
        f"{result.model}, {result.layer}: the {how_many(share, count)} of {count} channels that "
        "best preserve the target when all others are set to zero. Beside each picture, the "
        f"best of them, each where it is most active{_places(result)}.{mean}"
    )


def _places(result: ExtremalChannels) -> str:
    """Return from which pictures the crops are, for the caption; empty for one crop per channel."""
    most = len(result.exemplars)
    if result.photographs:
        return f", in its best {most} of {_photographs(result)}" if most > 1 else ""
    return f", in its best {most} pictures" if most > 1 else ""


def _photographs(result: ExtremalChannels) -> str:
    """Return the number of photographs that were searched, in words."""
    searched = len(result.exemplars.sources) - len(result.exemplars.left_out)
    return f"{searched} photograph{'s' if searched != 1 else ''}"


def _kept_texts(result: ExtremalChannels, picture: int) -> list[str]:
    """Return, for each share of the channels, the probability that a picture keeps."""
    count = result.masks.shape[2]
    return [
        f"{how_many(share, count)} channels keep {number(float(kept))}"
        f"{'' if same else ', another class wins'}"
        for share, kept, same in zip(
            result.shares, result.kept[picture], result.same[picture], strict=True
        )
    ]


def _mean_kept_texts(result: ExtremalChannels) -> list[str]:
    """Return the same averaged over all pictures."""
    count = result.masks.shape[2]
    return [
        f"{how_many(share, count)} channels keep {number(float(kept))}, "
        f"same class in {int(same)} of {len(result)}"
        for share, kept, same in zip(
            result.shares, result.kept.mean(0), result.same.sum(0), strict=True
        )
    ]


def _mean_text(result: ExtremalChannels) -> str:
    whole = number(float(result.whole.mean()))
    return f"All {len(result)} pictures on average: {whole}; {'; '.join(_mean_kept_texts(result))}"


def _draw_picture(
    grid: FigureGrid, result: ExtremalChannels, picture: int, line: int, last: bool
) -> None:
    """Draw a picture with its target and the probability that the first share keeps."""
    axes = grid.image(rgb(result.batch.pixels[picture].cpu()), line, 0)
    change = f"{number(float(result.whole[picture]))} → {number(float(result.kept[picture, 0]))}"
    share = percent(result.shares[0])
    write_title(axes, result.targets[picture], f"{change} with {share} of the channels")
    hidden = len(result) - picture - 1 if result.together and last else 0
    more = f" and {hidden} more" if hidden else ""
    name = clip(picture_name(result.batch.pictures[picture]), WIDE - len(more))
    write_below(axes, name + more)


def _draw_crop(
    grid: FigureGrid, result: ExtremalChannels, channel: int, rank: int, line: int, column: int
) -> None:
    """Draw a crop of one of a channel's best pictures, with that picture's name."""
    exemplars = result.exemplars
    axes = grid.image(crop(exemplars, channel, rank), line, column)
    value = float(exemplars.activity[rank, channel])
    active = number(value) if abs(value) < 1000 else f"{value:,.0f}"
    if rank == 0:
        write_title(axes, f"{result.layer}:{channel}", f"most active: {active}")
    else:
        write_title(axes, "", active)
    write_below(axes, clip(_name(exemplars, int(exemplars.picture[rank, channel])), WIDE))


def _name(exemplars: Exemplars, picture: int) -> str:
    """Return the file name without folders, with the picture's index if the name is not unique."""
    source = exemplars.sources[picture]
    named = exemplars.sources.count(source) == 1
    return name_of(source) if named else f"{name_of(source)} {picture}"


def crop(exemplars: Exemplars, channel: int, rank: int) -> Float[Tensor, "3 height width"]:
    """Crop one of a channel's best pictures around the position where it is most active.

    The crop is cut from the original, whose resolution may exceed the model's input, and is
    shifted inwards at the edges of that input.
    """
    batch = exemplars.look(int(exemplars.picture[rank, channel]))
    picture, view = rgb(batch.pictures[0].pixels.cpu()), batch.views[0]
    if batch.pixels.shape[1] == 1:
        picture = rgb(grey(picture))
    (top, left, *box), sides = view.box, picture.shape[1:]
    slices = []
    for start, extent, share, side in zip(
        (top, left), box, exemplars.place[rank, channel].tolist(), sides, strict=True
    ):
        length = min(max(1, round(CROP * extent)), side)
        first = start + min(max(share * extent - length / 2, 0), extent - length)
        begin = min(max(round(first), 0), side - length)
        slices.append(slice(begin, begin + length))
    size = (round(FINE * view.size[0] / view.size[1]), FINE)
    enlarged = F.interpolate(
        picture[None, :, slices[0], slices[1]], size, mode="bilinear", antialias=True
    )
    return enlarged[0].clamp(0, 1)


def data(result: ExtremalChannels) -> dict[str, Any]:
    """Return the channels and the probabilities that they keep, as JSON data."""
    pictures = [
        {
            "source": picture.source,
            "target": result.targets[i],
            "whole": float(result.whole[i]),
            "shares": [
                {
                    "share": share,
                    "kept": float(result.kept[i, k]),
                    "same_class": bool(result.same[i, k]),
                    "channels": result.ranked(share)[i].tolist(),
                }
                for k, share in enumerate(result.shares)
            ],
        }
        for i, picture in enumerate(result.batch.pictures)
    ]
    return jsonable(
        {
            "model": result.model,
            "layer": result.layer,
            "channels": result.masks.shape[2],
            "together": result.together,
            "mean": _mean(result) if result.together else None,
            "pictures": pictures,
            "photographs": len(result.exemplars.sources) if result.photographs else None,
            "left_out": result.exemplars.left_out,
            "notes": result.notes,
            "exemplars": _exemplars(result),
        }
    )


def _mean(result: ExtremalChannels) -> dict[str, Any]:
    """Return the probabilities that a joint mask keeps, averaged over all pictures."""
    means = zip(result.shares, result.kept.mean(0), result.same.float().mean(0), strict=True)
    shares = [{"share": s, "kept": float(k), "same_class": float(same)} for s, k, same in means]
    return {"whole": float(result.whole.mean()), "shares": shares}


def _exemplars(result: ExtremalChannels) -> dict[str, list[dict[str, Any]]]:
    """Return where the kept channels are most active, best picture first."""
    exemplars = result.exemplars
    kept = {c for share in result.shares for c in result.ranked(share).flatten().tolist()}
    return {
        str(channel): [
            {
                "picture": int(exemplars.picture[rank, channel]),
                "source": exemplars.sources[int(exemplars.picture[rank, channel])],
                "activity": float(exemplars.activity[rank, channel]),
                "row": float(exemplars.place[rank, channel, 0]),
                "column": float(exemplars.place[rank, channel, 1]),
            }
            for rank in range(len(exemplars))
        ]
        for channel in sorted(kept)
    }
