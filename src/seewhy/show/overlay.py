"""Overlay a map on its picture.

The picture is dimmed and nearly grey, and the map's opacity grows with |value|. So the picture
stays recognisable where there is no evidence, and only evidence is coloured.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seewhy.show.colour import Range, colours, normalise, scale

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709
SATURATION = 0.3  # how much colour the dimmed picture keeps
DIMMED = (0.05, 0.75)  # the grey levels of black and white after dimming
OPACITY = 0.92  # at the strongest evidence; the texture below stays visible
TINT = 0.6  # where the hues of a signed map start; its near-black would look like a shadow


def overlay(
    picture: Float[Tensor, "channels height width"],
    heatmap: Float[Tensor, "height width"],
    signed: bool,
    span: Range | None = None,
) -> Float[Tensor, "3 height width"]:
    """Draw the map over its picture, RGB in [0, 1]; the default `span` is that of `scale`.

    Values that are NaN or infinite are striped. `picture` is in [0, 1].
    """
    values = normalise(heatmap, span or scale(heatmap, signed), signed)
    strength = values.nan_to_num(0.0).abs()
    tint = values.sign() * (TINT + (1 - TINT) * strength) if signed else values
    blend = torch.lerp(dim(picture), colours(tint, signed), OPACITY * strength)
    return hatch(blend, values.isnan())


def map_only(
    heatmap: Float[Tensor, "height width"], signed: bool, span: Range | None = None
) -> Float[Tensor, "3 height width"]:
    """Draw the map alone, RGB in [0, 1]; NaN and infinite values are striped."""
    values = normalise(heatmap, span or scale(heatmap, signed), signed)
    return hatch(colours(values, signed), values.isnan())


def rgb(picture: Float[Tensor, "channels height width"]) -> Float[Tensor, "3 height width"]:
    """Three channels of a picture: the first three, or the first one where there are fewer."""
    picture = picture.float().clamp(0, 1)
    return picture[:3] if len(picture) >= 3 else picture[:1].expand(3, -1, -1)


def dim(picture: Float[Tensor, "channels height width"]) -> Float[Tensor, "3 height width"]:
    """Make the picture darker and nearly grey, so that colours stand out on it."""
    picture = rgb(picture)
    grey = torch.einsum("c,chw->hw", picture.new_tensor(LUMA), picture)
    black, white = DIMMED
    return black + (white - black) * torch.lerp(grey.expand(3, -1, -1), picture, SATURATION)


def hatch(
    image: Float[Tensor, "3 height width"], where: Bool[Tensor, "height width"]
) -> Float[Tensor, "3 height width"]:
    """Draw diagonal stripes of two greys, which no colour map has, over the pixels of `where`."""
    height, width = where.shape
    stripe = max(1, min(height, width) // 56)
    rows = torch.arange(height, device=image.device)[:, None]
    diagonal = (rows + torch.arange(width, device=image.device)) // stripe % 2
    return image.where(~where, 0.45 + 0.2 * diagonal)


def smooth(heatmap: Float[Tensor, "height width"], sigma: float) -> Float[Tensor, "height width"]:
    """Average the finite values with a Gaussian (sigma in pixels); other values are unchanged.

    For display: single-pixel speckle becomes visible dots.
    """
    if sigma <= 0:
        return heatmap
    finite = heatmap.isfinite()
    weight = _gaussian(finite.to(heatmap.dtype), sigma)
    total = _gaussian(heatmap.where(finite, 0.0), sigma)
    return (total / weight).where(finite, heatmap)


def _gaussian(image: Float[Tensor, "height width"], sigma: float) -> Float[Tensor, "height width"]:
    """Convolve with a separable Gaussian, with zeros outside the image."""
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    image = F.conv2d(image[None], kernel[None, None, :, None], padding=(reach, 0))
    return F.conv2d(image, kernel[None, None, None], padding=(0, reach))[0]
