"""Encode images as data URIs, for self-contained pages."""

import base64
import io

from jaxtyping import Float
from PIL import Image
from torch import Tensor

PHOTO_QUALITY = 82
TINY = 128  # pictures with a shorter side below this are stored losslessly: each pixel is visible


def data_uri(image: Float[Tensor, "3 height width"], longest: int = 640) -> str:
    """Encode an RGB image in [0, 1] as a WebP data URI of at most `longest` pixels per side."""
    pixels = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    tiny = min(picture.size) < TINY
    picture.save(buffer, "WEBP", lossless=tiny, quality=100 if tiny else PHOTO_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def png_uri(content: bytes) -> str:
    """Encode the bytes of a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
