"""Colours: a perceptually uniform hue circle, and names for the colours of pixels.

OKLab and OKLCH: Björn Ottosson, "A perceptual color space for image processing", 2020.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

# OKLab -> cone responses (cube roots) -> linear sRGB, and back, as published by Ottosson.
_LAB_TO_CONES = torch.tensor(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ],
    dtype=torch.float64,
)
_CONES_TO_RGB = torch.tensor(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ],
    dtype=torch.float64,
)

COLOURS: dict[str, tuple[float, float, float]] = {  # sRGB prototypes of the basic colour terms
    "black": (0.08, 0.08, 0.08),
    "grey": (0.5, 0.5, 0.5),
    "white": (0.95, 0.95, 0.95),
    "red": (0.78, 0.15, 0.18),
    "orange": (0.92, 0.52, 0.18),
    "brown": (0.42, 0.28, 0.16),
    "yellow": (0.92, 0.83, 0.27),
    "green": (0.28, 0.6, 0.3),
    "blue": (0.2, 0.4, 0.78),
    "purple": (0.5, 0.28, 0.65),
    "pink": (0.92, 0.6, 0.72),
}


def oklch(
    lightness: float, chroma: float, hue: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 3 1 1"]:
    """Convert an OKLCH colour to sRGB in [0, 1], clipped to the gamut; `hue` is in turns."""
    # float64, so that the colour of a picture does not depend on the rest of the batch: vectorised
    # and scalar cosines may differ in the last bit, which the cast to float32 removes.
    angle = hue.double() * (2 * math.pi)
    lab = torch.stack(
        [torch.full_like(angle, lightness), chroma * angle.cos(), chroma * angle.sin()], dim=-1
    )
    cones = (lab[:, None, :] * _LAB_TO_CONES.to(lab.device)).sum(-1) ** 3
    linear = (cones[:, None, :] * _CONES_TO_RGB.to(lab.device)).sum(-1).clamp(0, 1)
    curved = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    srgb = torch.where(linear <= 0.0031308, 12.92 * linear, curved)
    return srgb.clamp(0, 1).float()[:, :, None, None]


def oklab(pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width 3"]:
    """Convert sRGB pixels in [0, 1] to OKLab coordinates."""
    srgb = pixels.double().movedim(1, -1)
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    cones = linear @ torch.linalg.inv(_CONES_TO_RGB).T.to(srgb.device)
    return cones.clamp(min=0) ** (1 / 3) @ torch.linalg.inv(_LAB_TO_CONES).T.to(srgb.device)


def colour_index(
    pixels: Float[Tensor, "batch 3 height width"],
) -> Int[Tensor, "batch height width"]:
    """Return, per pixel, 1 + the index into COLOURS of the nearest prototype in OKLab."""
    prototypes = torch.tensor(list(COLOURS.values()), device=pixels.device)
    targets = oklab(prototypes[:, :, None, None])[:, 0, 0]
    lab = oklab(pixels)
    distance = torch.stack([(lab - target).square().sum(-1) for target in targets])
    return 1 + distance.argmin(0)
