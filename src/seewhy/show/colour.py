"""Convert numbers to colours, for display only.

Both colour maps are dark for no evidence and become lighter in even steps of perceived lightness
(CIELAB L*), so that they can also be read in greyscale and by colour-blind readers:

- `sequential`: matplotlib's "inferno", from black over red to pale yellow;
- `diverging`: computed here in CIELAB, near-black at zero, orange for, blue against; v and -v
  have the same lightness.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

MISSING = 0.5  # the grey of NaN and infinite values; `hatch` draws stripes over it

# The two halves of `diverging` in CIELAB; the chromas are close to the largest that sRGB can show.
DARKEST, LIGHTEST = 8.0, 76.0
FOR_HUE, FOR_CHROMA = 62.0, 54.0
AGAINST_HUE, AGAINST_CHROMA = 240.0, 40.0

CLIP = 99.5  # percentile at which the colours end; a few extreme values would darken all others
PEDESTAL = 5.0  # percentile at which the colours start if all values are above zero

WHITE_D65 = (0.95047, 1.0, 1.08883)
XYZ_TO_LINEAR_RGB = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)


class Range(NamedTuple):
    """The values at the two ends of the colours; equal for a flat map or one without values."""

    low: float
    high: float


def scale(heatmap: Float[Tensor, "*shape"], signed: bool, percentile: float = CLIP) -> Range:
    """Return the range of values that the colours span, robust to a few extreme values.

    Signed maps with both signs get (-m, m), with m the percentile of |value|; unsigned maps get
    (-n, m). If all values are above zero, the range starts at a low percentile instead of zero,
    because an offset common to all locations does not distinguish them; likewise for signed maps
    below zero. NaN and infinities are ignored; a map of zeros or without finite values gets (0, 0).
    """
    values = heatmap.detach().cpu().double().numpy().ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return Range(0.0, 0.0)
    if values.min() > 0:
        return Range(*(float(v) for v in np.percentile(values, [PEDESTAL, percentile])))
    if signed and values.max() < 0:
        return Range(*(float(v) for v in np.percentile(values, [100 - percentile, 100 - PEDESTAL])))
    if signed:
        largest = _robust_maximum(np.abs(values), percentile)
        # With values on one side of zero only, half of the colours would never be used.
        return Range(-largest if values.min() < 0 else 0.0, largest if values.max() > 0 else 0.0)
    low = _robust_maximum(-values, percentile)
    return Range(-low if low else 0.0, _robust_maximum(values, percentile))


def _robust_maximum(values: np.ndarray, percentile: float) -> float:
    """Return the percentile of `values` clipped at zero, or the maximum if the percentile is 0."""
    positive = values.clip(min=0)
    return float(np.percentile(positive, percentile) or positive.max())


def normalise(
    heatmap: Float[Tensor, "*shape"], span: Range, signed: bool
) -> Float[Tensor, "*shape"]:
    """Scale values to the range of the colours: [-1, 1] if signed, else [0, 1]; NaN if not finite.

    Values outside `span` are clamped to it. A signed span on one side of zero uses only the
    colours of that side.
    """
    values = heatmap.double().where(heatmap.isfinite(), torch.nan)
    width = span.high - span.low
    if width == 0:
        return (values * 0).float()
    values = values.clamp(span.low, span.high)
    if signed and span.low < 0 < span.high:
        return (values / span.high).float()
    zero = span.high if signed and span.high <= 0 else span.low
    return ((values - zero) / width).float()


def sequential(values: Float[Tensor, "*shape"]) -> Float[Tensor, "3 *shape"]:
    """Return RGB in [0, 1] for values in [0, 1], from dark to light; grey for NaN."""
    table = _inferno().to(values.device)
    position = values.nan_to_num(0.0).clamp(0, 1) * (len(table) - 1)
    below = position.long().clamp(max=len(table) - 2)
    share = (position - below)[..., None]
    rgb = torch.lerp(table[below], table[below + 1], share).movedim(-1, 0)
    return rgb.where(~values.isnan(), MISSING)


def diverging(values: Float[Tensor, "*shape"]) -> Float[Tensor, "3 *shape"]:
    """Return RGB in [0, 1] for values in [-1, 1]: orange if positive, blue if negative.

    Zero is near-black, NaN is grey.
    """
    strength = values.nan_to_num(0.0).clamp(-1, 1).abs()
    lightness = DARKEST + (LIGHTEST - DARKEST) * strength
    against = values < 0
    hue = torch.where(against, math.radians(AGAINST_HUE), math.radians(FOR_HUE))
    chroma = strength * torch.where(against, AGAINST_CHROMA, FOR_CHROMA)
    rgb = lab_to_rgb(torch.stack([lightness, chroma * hue.cos(), chroma * hue.sin()]))
    return rgb.clamp(0, 1).where(~values.isnan(), MISSING)


def colours(values: Float[Tensor, "*shape"], signed: bool) -> Float[Tensor, "3 *shape"]:
    """Return `diverging` colours if signed, else `sequential` ones."""
    return diverging(values) if signed else sequential(values)


def lab_to_rgb(lab: Float[Tensor, "3 *shape"]) -> Float[Tensor, "3 *shape"]:
    """Convert CIELAB under D65 to sRGB (IEC 61966-2-1), outside [0, 1] if it is out of gamut."""
    lightness, a, b = lab
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200])
    xyz = torch.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    xyz = xyz * _column(WHITE_D65, xyz)
    linear = torch.einsum("rx,x...->r...", lab.new_tensor(XYZ_TO_LINEAR_RGB), xyz)
    gamma = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, gamma)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(values).reshape(-1, *[1] * (like.ndim - 1))


@cache
def _inferno() -> Float[Tensor, "256 3"]:
    import matplotlib

    table = matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))
    return torch.tensor(table[:, :3], dtype=torch.float32)
