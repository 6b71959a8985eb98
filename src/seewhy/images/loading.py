"""Read a picture file with Pillow, as an upright, opaque sRGB picture of the first frame."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.images.files import PathLike, require_file
from seewhy.images.picture import Picture, picture_from_channels
from seewhy.support.quiet import quiet

# No format whose reader starts another program (EPS: Ghostscript) or opens further files.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "TGA", "JPEG2000", "MPO")
FORMATS += ("AVIF",)
MOST_PIXELS = 120_000_000  # about 2 GiB of memory while it is converted
COUNTED = 2**20  # bytes of a file up to which its frames are counted, one by one
DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # more than 8 bits in one channel
MANAGED = ("L", "RGB", "RGBA", "CMYK", "LAB", "YCbCr")  # modes with colour profile conversion


def load_picture(path: PathLike) -> Picture:
    """Load a picture file: upright, in sRGB, without transparency.

    The EXIF rotation and an embedded colour profile are applied, more than 8 bits per channel are
    kept if Pillow supports it, transparent parts become white, and the first of several frames is
    used. `Picture.notes` lists what was changed.

    Raises `SeewhyError` if the file is missing, empty, not a picture of a format in `FORMATS`,
    truncated, unreadable, or has more than 120 million pixels.
    """
    file = require_file(Path(path), "picture")
    with quiet("PIL"):
        image = _open(file, file)
    # A file name that is not valid Unicode cannot be printed, drawn or written into a report.
    source = str(file).encode(errors="surrogateescape").decode(errors="replace")
    with image:
        return picture_from_pillow(image, source)


def picture_from_bytes(content: bytes, source: str) -> Picture:
    """Load a picture from the bytes of a file, like `load_picture`; `source` names it."""
    if not content:
        raise SeewhyError(f"{source} is empty (0 bytes); give a complete picture file")
    with quiet("PIL"):
        image = _open(io.BytesIO(content), source)
    with image:
        return picture_from_pillow(image, source)


def picture_from_pillow(image: Image.Image, source: str) -> Picture:
    """Convert an open Pillow image to a `Picture`; the image is not changed."""
    if image.format is not None and image.format not in FORMATS:
        raise SeewhyError(
            f"{source} is a {image.format} picture, a format that is not opened here; give a JPEG, "
            "PNG, WebP, GIF or TIFF file, or image.copy() after image.load()"
        )
    with quiet("PIL"):
        upright = _upright(image, source)
        notes = _frame_note(image)
        if upright.mode in DEEP_GREY:
            grey, conversion_notes = _deep_grey(upright, source)
            return picture_from_channels(grey, source, notes + conversion_notes)
        colours, conversion_notes = _srgb(upright)
    values = torch.from_numpy(np.array(colours)).movedim(-1, 0)
    return picture_from_channels(values, source, notes + conversion_notes)


def _open(file: Path | io.BytesIO, source: PathLike) -> Image.Image:
    """Open a file of a known format, and check its size before anything is decoded."""
    Image.init()  # makes all formats known; it is quick the second time
    with _reading(source):
        image = Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
    pixels = image.size[0] * image.size[1]
    if pixels > MOST_PIXELS:
        image.close()
        raise SeewhyError(
            f"{source} is too large: {image.size[0]} x {image.size[1]} pixels, more than "
            f"{MOST_PIXELS:,}; make it smaller first"
        )
    return image


@contextmanager
def _reading(source: PathLike) -> Iterator[None]:
    """Convert any exception of Pillow to a SeewhyError about the file."""
    try:
        yield
    except PermissionError:
        raise SeewhyError(f"no permission to read {source}; change its permissions") from None
    except UnidentifiedImageError:
        raise SeewhyError(
            f"{source} is not a picture Pillow can read; give a JPEG, PNG, WebP, GIF or TIFF file"
        ) from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise SeewhyError(
            f"{source} is too large: more than {most:,} pixels; make it smaller first"
        ) from None
    except Exception as error:  # each of Pillow's decoders fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SeewhyError(
            f"{source} is truncated or damaged ({reason}); give a complete file"
        ) from None


def _upright(image: Image.Image, source: str) -> Image.Image:
    with _reading(source):
        image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels can be used even if the metadata are broken
        return image


def _frame_note(image: Image.Image) -> tuple[str, ...]:
    try:
        size = os.fstat(image.fp.fileno()).st_size if image.fp else 0  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        size = 0  # not a file
    if size > COUNTED:
        return ("first of several frames",) if getattr(image, "is_animated", False) else ()
    try:
        frames = getattr(image, "n_frames", 1)
    except Exception:  # a later frame is damaged, but the first one has been read
        return ("first frame; a later one is damaged",)
    return (f"first of {frames} frames",) if frames > 1 else ()


def _deep_grey(image: Image.Image, source: str) -> tuple[Tensor, tuple[str, ...]]:
    """Scale 16-bit values by 65535; wider integers and floats outside [0, 1] by their own range."""
    array = np.array(image)
    if image.mode.startswith("I;16"):  # 0 to 65535, without a detour through larger numbers
        return torch.from_numpy(array.astype(np.float32) / np.float32(65535))[None], ()
    if not np.isfinite(array).all():  # before a conversion, which warns of some NaN
        raise SeewhyError(f"{source} holds NaN or infinite values; save it as 8-bit RGB")
    values = torch.from_numpy(array.astype(np.float64))[None]
    low, high = values.min().item(), values.max().item()
    if image.mode == "F" and low >= 0 and high <= 1:
        return values, ()
    if image.mode != "F" and low >= 0 and high <= 65535:
        return values / 65535, ()
    span = (high - low) or 1.0
    return (values - low) / span, (f"values from {low:.3g} to {high:.3g} scaled to [0, 1]",)


def _srgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert the image to sRGB, as RGB, or as RGBA if it has transparency."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert(mode), ()
    managed = image if image.mode in MANAGED and mode == "RGB" else image.convert(mode)
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = " ".join(ImageCms.getProfileDescription(embedded).split())
        if "srgb" in name.lower():
            return image.convert(mode), ()
        converted = ImageCms.profileToProfile(
            managed, embedded, ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except (ImageCms.PyCMSError, ImportError, OSError):
        return image.convert(mode), ("colour profile unreadable: ignored",)
    assert converted is not None  # only None when converting in place
    return converted, (f"converted from {name} to sRGB",)
