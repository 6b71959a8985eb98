"""Convert paths, images, arrays and tensors to a `Picture`."""

import os
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.images.loading import load_picture, picture_from_pillow
from seewhy.images.picture import Picture, picture_from_bands, picture_from_channels


def as_picture(thing: Any, channels: int = 3) -> Picture:
    """Convert a path, a Pillow image, an array, a tensor or a `Picture` to a `Picture`.

    NumPy arrays are [height, width] or [height, width, channels]; tensors are [height, width] or
    [channels, height, width]. Values are uint8, uint16, bool, or floats in [0, 1]. One to four
    channels mean grey, grey and alpha, RGB, RGB and alpha; but where a model takes 2, 4 or more
    `channels`, arrays and tensors with as many are data without alpha.

    Raises `SeewhyError` for anything that is not a picture.
    """
    if isinstance(thing, Picture):
        return thing
    if isinstance(thing, str | os.PathLike):
        return load_picture(thing)
    if isinstance(thing, Image.Image):
        return picture_from_pillow(thing, source=getattr(thing, "filename", "") or "array")
    if channels not in (1, 3) and isinstance(thing, np.ndarray) and thing.shape[2:] == (channels,):
        return picture_from_bands(_native(thing), source="array")
    if channels not in (1, 3) and isinstance(thing, Tensor) and _has(thing, channels):
        return picture_from_bands(thing.detach().cpu(), source="array")
    if isinstance(thing, np.ndarray):
        return picture_from_channels(_channels_first(thing), source="array")
    if isinstance(thing, Tensor):
        return picture_from_channels(_with_channels(thing.detach().cpu()), source="array")
    raise SeewhyError(
        "expected a picture (a path, a Pillow image, a NumPy array, a tensor or a Picture), "
        f"got {type(thing).__name__}"
    )


def _channels_first(array: np.ndarray) -> Tensor:
    if array.ndim == 3 and array.shape[-1] not in (1, 2, 3, 4) and array.shape[0] in (1, 3, 4):
        raise SeewhyError(
            f"expected an array of height, width, channels, got shape {array.shape}: "
            "looks like channels first; give array.transpose(1, 2, 0)"
        )
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise SeewhyError(
            f"expected an array of height, width or height, width, channels, got {array.shape}"
        )
    return _native(pixels)


def _native(pixels: np.ndarray) -> Tensor:
    """Convert an array [height, width, channels] to a tensor [channels, height, width]."""
    if not (np.issubdtype(pixels.dtype, np.number) or pixels.dtype == np.bool_):
        raise SeewhyError(
            f"array holds {pixels.dtype} values; give uint8 in 0..255 or floats in [0, 1]"
        )
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = pixels.astype(np.float64)  # torch does not support long double
    native = pixels.astype(pixels.dtype.newbyteorder("="))  # nor non-native byte order
    return torch.from_numpy(np.ascontiguousarray(native.transpose(2, 0, 1)))


def _has(tensor: Tensor, channels: int) -> bool:
    return tensor.ndim == 3 and len(tensor) == channels and tensor.numel() > 0


def _with_channels(tensor: Tensor) -> Tensor:
    shape = tuple(tensor.shape)
    if tensor.ndim == 3 and shape[0] not in (1, 2, 3, 4) and shape[-1] in (1, 3, 4):
        raise SeewhyError(
            f"expected a tensor of channels, height, width, got shape {shape}: "
            "looks like channels last; give tensor.permute(2, 0, 1)"
        )
    pixels = tensor[None] if tensor.ndim == 2 else tensor
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 2, 3, 4) or 0 in shape:
        raise SeewhyError(
            f"expected a tensor of height, width or channels, height, width, got {shape}"
        )
    return pixels
