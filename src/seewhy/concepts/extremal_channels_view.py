"""The channels that suffice for a decision: a figure, numbers for other programs, words."""

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
from seewhy.show.text import name_of, number, percent, picture_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNELS = 5  # shown beside a picture
CROP = 0.3  # of the sides of what the model sees, around the place where a channel is most active
WIDE = 46  # letters in a column
FINE = 360  # pixels across an enlarged crop, as many as a cell has in a PNG
SHORT = 0.2  # the header of a line without titles, in inches


def text(found: ExtremalChannels) -> str:
    """The layer, a line a picture with what is left of its answer, and for one mask the mean."""
    count = found.masks.shape[2]
    lines = [f"layer     {found.layer} of {found.model}, {count} channels"]
    for i, picture in enumerate(found.batch.pictures):
        left = "; ".join(_left(found, i))
        whole = number(float(found.whole[i]))
        lines.append(f"{picture_name(picture)}: {found.targets[i]} {whole}; {left}")
    if found.together and len(found) > 1:
        lines.append(_mean_text(found))
    if found.photographs:
        lines.append(f"crops     from {_photographs(found)}")
    lines += [f"left out  {reason}" for reason in found.exemplars.left_out]
    lines += [f"note      {note}" for note in found.notes]
    return "\n".join(lines)


def figure(found: ExtremalChannels) -> "Figure":
    """A matplotlib figure: a row a picture, with crops of what its best channels see.

    A channel is shown by the crop, of the explained pictures, where it is most active; where
    there are photographs, or pictures that were explained together, by the best of several of
    them, one below the other.
    """
    share = found.shares[0]
    ranked = found.ranked(share)[:, :CHANNELS]
    height, width = found.batch.pixels.shape[-2:]
    rows, each = 1 if found.together else len(found), len(found.exemplars)
    caption = textwrap.wrap(_caption(found, share), WIDE * (1 + ranked.shape[1]))
    headers = ([HEADER] + [HEADER if found.together else SHORT] * (each - 1)) * rows
    grid = FigureGrid(1 + ranked.shape[1], headers, IMAGE_WIDTH * height / width, len(caption))
    for row in range(rows):
        shown = range(min(each, len(found))) if found.together else [row]
        for line, picture in enumerate(shown, start=row * each):
            _draw_picture(grid, found, picture, line, last=picture == shown[-1])
        if len(shown) < each and len(found.shares) > 1:
            left = _mean_left(found) if found.together else _left(found, row)
            wrapped = [part for text in left for part in textwrap.wrap(text, WIDE)]
            write_beside(grid, row * each + len(shown), 0, "", wrapped)
        for column, channel in enumerate(ranked[row].tolist(), start=1):
            for rank in range(each):
                _draw_crop(grid, found, channel, rank, row * each + rank, column)
    grid.write_caption(caption)
    return grid.figure


def _caption(found: ExtremalChannels, share: float = 0.5) -> str:
    """What is seen."""
    count = found.masks.shape[2]
    mean = f" {_mean_text(found)}." if found.together and len(found) > 1 else ""
    return (
        f"{found.model}, {found.layer}: the {how_many(share, count)} of {count} channels that keep "
        f"the answer best when all others are set to zero. Beside the picture those that keep "
        f"most, each where it is most active{_places(found)}.{mean}"
    )


def _places(found: ExtremalChannels) -> str:
    """In which pictures channels are shown; nothing, where it is in the best of those beside."""
    most = len(found.exemplars)
    if found.photographs:
        return f", in its best {most} of {_photographs(found)}" if most > 1 else ""
    return f", in its best {most} pictures" if most > 1 else ""


def _photographs(found: ExtremalChannels) -> str:
    """How many were looked through."""
    looked = len(found.exemplars.sources) - len(found.exemplars.left_out)
    return f"{looked} photograph{'s' if looked != 1 else ''}"


def _left(found: ExtremalChannels, picture: int) -> list[str]:
    """What each share of the channels keeps of a picture's answer."""
    count = found.masks.shape[2]
    return [
        f"{how_many(share, count)} channels keep {number(float(kept))}"
        f"{'' if same else ', another class wins'}"
        for share, kept, same in zip(
            found.shares, found.kept[picture], found.same[picture], strict=True
        )
    ]


def _mean_left(found: ExtremalChannels) -> list[str]:
    """The same on average, over all pictures."""
    count = found.masks.shape[2]
    return [
        f"{how_many(share, count)} channels keep {number(float(kept))}, "
        f"same class in {int(same)} of {len(found)}"
        for share, kept, same in zip(
            found.shares, found.kept.mean(0), found.same.sum(0), strict=True
        )
    ]


def _mean_text(found: ExtremalChannels) -> str:
    whole = number(float(found.whole.mean()))
    return f"All {len(found)} pictures on average: {whole}; {'; '.join(_mean_left(found))}"


def _draw_picture(
    grid: FigureGrid, found: ExtremalChannels, picture: int, line: int, last: bool
) -> None:
    """A picture, its target, and what the first share of the channels keeps of it."""
    axes = grid.image(rgb(found.batch.pixels[picture].cpu()), line, 0)
    left = f"{number(float(found.whole[picture]))} → {number(float(found.kept[picture, 0]))}"
    share = percent(found.shares[0])
    write_title(axes, found.targets[picture], f"{left} with {share} of the channels")
    hidden = len(found) - picture - 1 if found.together and last else 0
    more = f" and {hidden} more" if hidden else ""
    name = clip(picture_name(found.batch.pictures[picture]), WIDE - len(more))
    write_below(axes, name + more)


def _draw_crop(
    grid: FigureGrid, found: ExtremalChannels, channel: int, rank: int, line: int, column: int
) -> None:
    """What a channel sees in one of its best pictures, with that picture's name."""
    exemplars = found.exemplars
    axes = grid.image(crop(exemplars, channel, rank), line, column)
    value = float(exemplars.activity[rank, channel])
    active = number(value) if abs(value) < 1000 else f"{value:,.0f}"
    if rank == 0:
        write_title(axes, f"{found.layer}:{channel}", f"most active: {active}")
    else:
        write_title(axes, "", active)
    write_below(axes, clip(_name(exemplars, int(exemplars.picture[rank, channel])), WIDE))


def _name(exemplars: Exemplars, picture: int) -> str:
    """A file's name without its folders; of what came as numbers, which one it is."""
    source = exemplars.sources[picture]
    named = exemplars.sources.count(source) == 1
    return name_of(source) if named else f"{name_of(source)} {picture}"


def crop(exemplars: Exemplars, channel: int, rank: int) -> Float[Tensor, "3 height width"]:
    """Of one of a channel's best pictures the part around the place where it is most active.

    Cut from the picture as it came, which may be finer than what the model sees of it, and
    moved inwards where the place lies near the edge of that.
    """
    seen = exemplars.look(int(exemplars.picture[rank, channel]))
    picture, view = rgb(seen.pictures[0].pixels.cpu()), seen.views[0]
    if seen.pixels.shape[1] == 1:
        picture = rgb(grey(picture))
    (top, left, *box), sides = view.box, picture.shape[1:]
    cut = []
    for start, extent, share, side in zip(
        (top, left), box, exemplars.place[rank, channel].tolist(), sides, strict=True
    ):
        length = min(max(1, round(CROP * extent)), side)
        first = start + min(max(share * extent - length / 2, 0), extent - length)
        begin = min(max(round(first), 0), side - length)
        cut.append(slice(begin, begin + length))
    size = (round(FINE * view.size[0] / view.size[1]), FINE)
    enlarged = F.interpolate(
        picture[None, :, cut[0], cut[1]], size, mode="bilinear", antialias=True
    )
    return enlarged[0].clamp(0, 1)


def data(found: ExtremalChannels) -> dict[str, Any]:
    """The channels and what they keep, valid as JSON."""
    pictures = [
        {
            "source": picture.source,
            "target": found.targets[i],
            "whole": float(found.whole[i]),
            "shares": [
                {
                    "share": share,
                    "kept": float(found.kept[i, k]),
                    "same_class": bool(found.same[i, k]),
                    "channels": found.ranked(share)[i].tolist(),
                }
                for k, share in enumerate(found.shares)
            ],
        }
        for i, picture in enumerate(found.batch.pictures)
    ]
    return jsonable(
        {
            "model": found.model,
            "layer": found.layer,
            "channels": found.masks.shape[2],
            "together": found.together,
            "mean": _mean(found) if found.together else None,
            "pictures": pictures,
            "photographs": len(found.exemplars.sources) if found.photographs else None,
            "left_out": found.exemplars.left_out,
            "notes": found.notes,
            "exemplars": _exemplars(found),
        }
    )


def _mean(found: ExtremalChannels) -> dict[str, Any]:
    """What one mask keeps on average, over all pictures."""
    means = zip(found.shares, found.kept.mean(0), found.same.float().mean(0), strict=True)
    shares = [{"share": s, "kept": float(k), "same_class": float(same)} for s, k, same in means]
    return {"whole": float(found.whole.mean()), "shares": shares}


def _exemplars(found: ExtremalChannels) -> dict[str, list[dict[str, Any]]]:
    """Where the channels that some picture keeps are most active, best picture first."""
    exemplars = found.exemplars
    kept = {c for share in found.shares for c in found.ranked(share).flatten().tolist()}
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
