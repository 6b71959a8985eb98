"""Resize, crop and batch pictures for a model; normalisation is left to the model."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.errors import SeewhyError, Unknown
from seewhy.images.coercing import as_picture
from seewhy.images.picture import Picture, unit_range
from seewhy.images.view import View

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
KERNELS = ("bilinear", "bicubic", "nearest")
DRAWN = 1024  # pixels of the long side of a picture that is kept to be drawn
MOST_PIXELS = 100_000_000  # of a resized picture, before the crop; about one gigabyte


@dataclass(frozen=True)
class Preparation:
    """The input format of a model, except for normalisation, which the model does itself.

    - `size`: height, width of the input; None keeps the size of each picture.
    - `resize`: the size before the centre crop to `size`: an int is the new short side,
      (height, width) is exact. Without it the whole picture is resized to `size`.
    - `channels`: 3 for RGB, 1 for grey (ITU-R BT.601 luma). Any other number needs arrays or
      tensors with that many channels, such as the bands of a satellite; the first three of them
      (of two, the first) are drawn.
    - `interpolation`: "bilinear", "bicubic" (both antialiased) or "nearest".

    `Preparation((224, 224), resize=256)` is torchvision's usual preset, except that pixels are not
    rounded to 8 bits after resizing.
    """

    size: tuple[int, int] | None = None
    resize: int | tuple[int, int] | None = None
    channels: int = 3
    interpolation: str = "bilinear"

    def __post_init__(self):
        if self.interpolation not in KERNELS:
            raise Unknown("interpolation", self.interpolation, KERNELS, f"one of {KERNELS}")
        if not isinstance(self.channels, int) or self.channels < 1:
            raise SeewhyError(
                f"channels must be 3 (RGB), 1 (grey) or another whole number, got {self.channels!r}"
            )
        for name, value in (("size", self.size), ("resize", self.resize)):
            if value is not None:
                check_extent(name, value, integer_too=name == "resize")
        if self.size and self.resize:
            smallest = (self.resize,) * 2 if isinstance(self.resize, int) else self.resize
            if smallest[0] < self.size[0] or smallest[1] < self.size[1]:
                raise SeewhyError(
                    f"cannot crop {self.size} from a picture resized to {self.resize}; "
                    "resize must be at least size"
                )

    def __call__(self, picture: Picture) -> tuple[Float[Tensor, "c h w"], View]:
        """Return the model's input for one picture, in [0, 1], and its position in the picture."""
        original = picture.size
        resized = self._resized(picture)
        top, left, height, width = self._crop(resized)
        pixels = _interpolate(self._with_channels(picture), resized, self.interpolation)
        y, x = original[0] / resized[0], original[1] / resized[1]  # original pixels per new pixel
        view = View(original, (top * y, left * x, height * y, width * x), (height, width))
        return pixels[:, top : top + height, left : left + width].contiguous(), view

    def takes_as_is(self, channels: int, size: tuple[int, int]) -> bool:
        """Return whether an input of this shape needs no preparation."""
        untouched = self.size is None and self.resize is None
        return channels == self.channels and (untouched or size == self.size)

    def _resized(self, picture: Picture) -> tuple[int, int]:
        if self.resize is None:
            return self.size or picture.size
        if not isinstance(self.resize, int):
            return self.resize
        height, width = short_side_to(self.resize, picture.size)
        if height * width > MOST_PIXELS:
            raise SeewhyError(
                f"{picture.source} is too elongated ({picture.size[0]} x {picture.size[1]} pixels) "
                f"to resize its short side to {self.resize}; crop it first"
            )
        return height, width

    def _crop(self, resized: tuple[int, int]) -> tuple[int, int, int, int]:
        height, width = self.size or resized
        # Python's round, with ties to even, matches torchvision's centre crop.
        return round((resized[0] - height) / 2), round((resized[1] - width) / 2), height, width

    def _with_channels(self, picture: Picture) -> Float[Tensor, "c h w"]:
        if picture.bands is not None and len(picture.bands) == self.channels:
            return picture.bands
        if self.channels not in (1, 3):
            raise SeewhyError(
                f"{picture.source} is not an array of {self.channels} channels, which the model "
                f"takes; give a tensor [{self.channels}, height, width], or a NumPy array "
                f"[height, width, {self.channels}], in [0, 1]"
            )
        return picture.pixels if self.channels == 3 else grey(picture.pixels)


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures prepared for a model, each with the view that maps back to it.

    `pixels`: float32 in [0, 1].
    """

    pixels: Float[Tensor, "batch c h w"]
    pictures: tuple[Picture, ...]
    views: tuple[View, ...]

    def __post_init__(self) -> None:
        if not len(self.pixels) == len(self.pictures) == len(self.views):
            raise ValueError("a batch needs one picture and one view for each input")

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def __getitem__(self, rows: slice) -> "Batch":
        """Return a batch with a slice of the pictures."""
        return Batch(self.pixels[rows], self.pictures[rows], self.views[rows])

    @staticmethod
    def joined(batches: "Iterable[Batch]") -> "Batch":
        """Concatenate several batches of pictures of the same size."""
        parts = list(batches)
        pictures = tuple(picture for part in parts for picture in part.pictures)
        views = tuple(view for part in parts for view in part.views)
        _require_one_size(pictures, views)
        return Batch(torch.cat([part.pixels for part in parts]), pictures, views)


def prepare(things: Any, preparation: Preparation) -> Batch:
    """Prepare one or several pictures as one batch.

    `things` is anything that `as_picture` accepts, an iterable of those, a NumPy array
    [batch, height, width, channels], or a tensor [batch, channels, height, width]. A tensor that
    already fits the model is not resized and stays on its device.

    Raises `SeewhyError` if something is not a picture, there are none, or sizes differ.
    """
    if isinstance(things, Tensor) and things.ndim == 4:
        size = (things.shape[2], things.shape[3])
        if len(things) and preparation.takes_as_is(things.shape[1], size):
            return _ready(unit_range(things.detach()), preparation.channels)
    pictures = tuple(as_picture(thing, preparation.channels) for thing in several(things))
    if not pictures:
        raise SeewhyError("no picture given; expected at least one")
    inputs, views = zip(*(preparation(picture) for picture in pictures), strict=True)
    _require_one_size(pictures, views)
    return Batch(torch.stack(inputs), pictures, views)


def reduced(batch: Batch, longest: int = DRAWN) -> Batch:
    """Replace pictures by copies whose long side has at most `longest` pixels, to save memory.

    What the model sees stays the same; maps are drawn over the copies, and `View.to_original` maps
    to them.
    """
    pairs = [_reduced(p, v, longest) for p, v in zip(batch.pictures, batch.views, strict=True)]
    return Batch(batch.pixels, tuple(p for p, _ in pairs), tuple(v for _, v in pairs))


def _reduced(picture: Picture, view: View, longest: int) -> tuple[Picture, View]:
    height, width = picture.size
    factor = longest / max(height, width)
    if factor >= 1:
        return picture, view
    size = max(1, round(height * factor)), max(1, round(width * factor))
    y, x = size[0] / height, size[1] / width
    top, left, box_height, box_width = view.box
    note = f"drawn at {size[1]} x {size[0]} of {width} x {height} pixels"
    small = replace(
        picture,
        pixels=_interpolate(picture.pixels, size, "bilinear"),
        bands=None if picture.bands is None else _interpolate(picture.bands, size, "bilinear"),
        notes=(*picture.notes, note),
    )
    return small, View(size, (top * y, left * x, box_height * y, box_width * x), view.size)


def grey(pixels: Float[Tensor, "*batch 3 h w"]) -> Float[Tensor, "*batch 1 h w"]:
    """Compute the luma of RGB pixels (ITU-R BT.601): 0.299 R + 0.587 G + 0.114 B."""
    weights = pixels.new_tensor(LUMA)[:, None, None]
    return (pixels * weights).sum(-3, keepdim=True)


def short_side_to(length: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) with short side `length`; the long side is rounded down.

    This matches torchvision.

    >>> short_side_to(256, (375, 500))
    (256, 341)
    """
    height, width = size
    if height <= width:
        return length, int(length * width / height)
    return int(length * height / width), length


def several(things: Any) -> Iterable[Any]:
    """Return an iterable over one or several pictures."""
    if isinstance(things, np.ndarray | Tensor):
        return things if things.ndim == 4 else [things]
    if isinstance(things, str | os.PathLike | Image.Image | Picture) or not isinstance(
        things, Iterable
    ):
        return [things]
    return things


def _ready(pixels: Float[Tensor, "batch c h w"], channels: int) -> Batch:
    pictures = tuple(as_picture(picture, channels) for picture in pixels)
    views = (View.identity(pixels.shape[2], pixels.shape[3]),) * len(pixels)
    return Batch(pixels, pictures, views)


def _interpolate(
    pixels: Float[Tensor, "c h w"], size: tuple[int, int], kernel: str
) -> Float[Tensor, "c H W"]:
    if tuple(pixels.shape[1:]) == size:
        return pixels
    if kernel == "nearest":
        return interpolate(pixels[None], size, mode="nearest-exact")[0]
    smooth = interpolate(pixels[None], size, mode=kernel, align_corners=False, antialias=True)[0]
    return smooth.clamp(0, 1)  # bicubic overshoots at edges


def _require_one_size(pictures: tuple[Picture, ...], views: tuple[View, ...]) -> None:
    first = {view.size: picture.source for picture, view in zip(pictures, views, strict=True)}
    if len(first) > 1:
        named = ", ".join(f"{h} x {w} ({source})" for (h, w), source in list(first.items())[:4])
        raise SeewhyError(
            f"pictures of different sizes cannot share a batch: {named}; "
            "give the model a size, or give one picture at a time"
        )


def check_extent(name: str, value: Any, integer_too: bool) -> None:
    """Raise `SeewhyError` unless `value` is (height, width), or an integer if `integer_too`."""
    sides = value if isinstance(value, tuple) else (value,)
    right_count = len(sides) == 2 or (integer_too and not isinstance(value, tuple))
    if not right_count or not all(type(side) is int and side >= 1 for side in sides):
        expected = "(height, width)" + (" or a short side" if integer_too else "")
        raise SeewhyError(f"{name} must be {expected} in whole pixels, at least 1; got {value!r}")
    if math.prod(sides) > MOST_PIXELS:
        raise SeewhyError(f"{name} must have at most {MOST_PIXELS} pixels; got {value!r}")
