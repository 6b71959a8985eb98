"""Images as data URIs, for pages that load nothing from elsewhere."""

import base64
import io

from jaxtyping import Float
from PIL import Image
from torch import Tensor

PHOTO_QUALITY = 82
TINY = 128  # pictures below this many pixels a side are kept exact: every pixel is seen


def data_uri(image: Float[Tensor, "3 height width"], longest: int = 640) -> str:
    """The image, RGB in [0, 1], as a WebP data URI of at most `longest` pixels a side."""
    eight = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(eight)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    tiny = min(picture.size) < TINY
    picture.save(buffer, "WEBP", lossless=tiny, quality=100 if tiny else PHOTO_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def png_uri(content: bytes) -> str:
    """The bytes of a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
