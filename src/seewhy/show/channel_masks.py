"""The channels that suffice for a decision: a figure, numbers for other programs, words."""

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.channel_masks import ExtremalChannels, how_many
from seewhy.errors import SeewhyError
from seewhy.show.overlay import rgb
from seewhy.show.readable import jsonable
from seewhy.show.sheet import (
    HEADER,
    IMAGE_WIDTH,
    Sheet,
    clip,
    png_bytes,
    write_below,
    write_title,
)
from seewhy.show.text import number, percent, picture_name
from seewhy.writing import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".json")
CHANNELS = 5  # shown beside a picture
CROP = 0.3  # of the picture's side, around the place where a channel is most active
WIDE = 46  # letters in a column


def summary(found: ExtremalChannels) -> str:
    """The layer, and a line a picture with what is left of its answer."""
    count = found.masks.shape[2]
    lines = [f"layer     {found.layer} of {found.model}, {count} channels"]
    for i, picture in enumerate(found.batch.pictures):
        parts = [
            f"{how_many(share, count)} channels keep {number(float(kept))}"
            f"{'' if same else ', another class wins'}"
            for share, kept, same in zip(found.shares, found.kept[i], found.same[i], strict=True)
        ]
        whole = number(float(found.whole[i]))
        lines.append(f"{picture_name(picture)}: {found.targets[i]} {whole}; {'; '.join(parts)}")
    return "\n".join(lines)


def save(found: ExtremalChannels, path: str | Path) -> Path:
    """Write by suffix, .png or .json, whole or not at all; gives back the path."""
    writers = {".png": lambda: png_bytes(figure(found)), ".json": lambda: _json(found)}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise SeewhyError(
            f"{path}: expected a name that ends in {', '.join(SUFFIXES)}; "
            f"came {suffix or 'no suffix'!r}"
        )
    write_bytes(path, writers[suffix]())
    return Path(path)


def figure(found: ExtremalChannels) -> "Figure":
    """A matplotlib figure: a row a picture, with what its best channels see.

    A channel is shown by the crop, of all pictures that were explained, where it is most active.
    """
    share = found.shares[0]
    ranked = found.ranked(share)[:, :CHANNELS]
    height, width = found.batch.pixels.shape[-2:]
    rows = 1 if found.together else len(found)
    foot = textwrap.wrap(
        f"{found.model}, {found.layer}: the {how_many(share, found.masks.shape[2])} of "
        f"{found.masks.shape[2]} channels that keep the answer best when all others are set to "
        "zero. Beside the picture those that keep most, each where it is most active.",
        WIDE * (1 + ranked.shape[1]),
    )
    sheet = Sheet(1 + ranked.shape[1], [HEADER] * rows, IMAGE_WIDTH * height / width, len(foot))
    for row in range(rows):
        axes = sheet.image(rgb(found.batch.pixels[row].cpu()), row, 0)
        left = f"{number(float(found.whole[row]))} → {number(float(found.kept[row, 0]))}"
        write_title(axes, found.targets[row], f"{left} with {percent(share)} of the channels")
        others = f" and {len(found) - 1} more" if found.together and len(found) > 1 else ""
        name = picture_name(found.batch.pictures[row]) + others
        write_below(axes, clip(name, WIDE))
        for column, channel in enumerate(ranked[row].tolist(), start=1):
            picture, crop = _crop(found, channel)
            axes = sheet.image(crop, row, column)
            active = f"most active: {number(float(found.peaks[picture, channel, 0]))}"
            write_title(axes, f"{found.layer}:{channel}", active)
            write_below(axes, clip(picture_name(found.batch.pictures[picture]), WIDE))
    sheet.write_foot(foot)
    return sheet.figure


def readable(found: ExtremalChannels) -> dict[str, Any]:
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
            "pictures": pictures,
        }
    )


def _json(found: ExtremalChannels) -> bytes:
    return json.dumps(readable(found), allow_nan=False, ensure_ascii=False).encode()


def _crop(found: ExtremalChannels, channel: int) -> tuple[int, Float[Tensor, "3 height width"]]:
    """The picture in which the channel is most active, and the place where it is, enlarged."""
    picture = int(found.peaks[:, channel, 0].argmax())
    pixels = rgb(found.batch.pixels[picture].cpu())
    size = pixels.shape[-2:]
    sides = [max(1, round(CROP * side)) for side in size]
    centres = found.peaks[picture, channel, 1:].tolist()
    tops = [
        min(max(round(centre * side - part / 2), 0), side - part)
        for centre, side, part in zip(centres, size, sides, strict=True)
    ]
    crop = pixels[:, tops[0] : tops[0] + sides[0], tops[1] : tops[1] + sides[1]]
    return picture, F.interpolate(crop[None], size, mode="bilinear")[0].clamp(0, 1)
