"""From numbers to colours, for display only.

Both maps start dark where there is no evidence and grow lighter with it, in even steps of
perceived lightness (CIELAB L*), so that they also read in grey and for colour-blind eyes:

- `sequential`: matplotlib's "inferno", black over red to pale yellow;
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

MISSING = 0.5  # the grey of a value that is NaN or infinite; `hatch` stripes it

# The arms of `diverging` in CIELAB; the chromas are near the widest that sRGB can show there.
DARKEST, LIGHTEST = 8.0, 76.0
FOR_HUE, FOR_CHROMA = 62.0, 54.0
AGAINST_HUE, AGAINST_CHROMA = 240.0, 40.0

CLIP = 99.5  # percentile at which the colours end; a few extreme values would darken all others
PEDESTAL = 5.0  # percentile at which the colours of a map without zero begin

WHITE_D65 = (0.95047, 1.0, 1.08883)
XYZ_TO_LINEAR_RGB = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)


class Range(NamedTuple):
    """The values drawn at the two ends of a colour map; equal where a map says nothing."""

    low: float
    high: float


def scale(heatmap: Float[Tensor, "*shape"], signed: bool, percentile: float = CLIP) -> Range:
    """The range of one picture's map that the colours span, robust to a few extreme values.

    Signed maps with both signs get (-m, m), with m the percentile of |value|; unsigned maps get
    (-n, m). A map whose values are all above zero starts at a low percentile of its own, not at
    zero, since what all places share tells none of them apart; likewise below zero if signed.
    NaN and infinities do not count; a map that is zero or without finite values gets (0, 0).
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
        widest = _robust_maximum(np.abs(values), percentile)
        # One-sided at zero: half of the colours would never be used.
        return Range(-widest if values.min() < 0 else 0.0, widest if values.max() > 0 else 0.0)
    low = _robust_maximum(-values, percentile)
    return Range(-low if low else 0.0, _robust_maximum(values, percentile))


def _robust_maximum(values: np.ndarray, percentile: float) -> float:
    """The percentile of `values` above zero; the maximum where so few are that it is zero."""
    positive = values.clip(min=0)
    return float(np.percentile(positive, percentile) or positive.max())


def normalise(
    heatmap: Float[Tensor, "*shape"], span: Range, signed: bool
) -> Float[Tensor, "*shape"]:
    """Values on the scale of the colours: [-1, 1] where signed, else [0, 1]; NaN where not finite.

    Values beyond `span` are drawn at its ends. A signed span on one side of zero uses that side's
    colours alone.
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
    """RGB in [0, 1] of values in [0, 1]; dark is little. Grey where NaN."""
    table = _inferno().to(values.device)
    position = values.nan_to_num(0.0).clamp(0, 1) * (len(table) - 1)
    below = position.long().clamp(max=len(table) - 2)
    share = (position - below)[..., None]
    rgb = torch.lerp(table[below], table[below + 1], share).movedim(-1, 0)
    return rgb.where(~values.isnan(), MISSING)


def diverging(values: Float[Tensor, "*shape"]) -> Float[Tensor, "3 *shape"]:
    """RGB in [0, 1] of values in [-1, 1]: orange above zero, blue below, near-black at zero.

    Grey where NaN.
    """
    strength = values.nan_to_num(0.0).clamp(-1, 1).abs()
    lightness = DARKEST + (LIGHTEST - DARKEST) * strength
    against = values < 0
    hue = torch.where(against, math.radians(AGAINST_HUE), math.radians(FOR_HUE))
    chroma = strength * torch.where(against, AGAINST_CHROMA, FOR_CHROMA)
    rgb = lab_to_rgb(torch.stack([lightness, chroma * hue.cos(), chroma * hue.sin()]))
    return rgb.clamp(0, 1).where(~values.isnan(), MISSING)


def colours(values: Float[Tensor, "*shape"], signed: bool) -> Float[Tensor, "3 *shape"]:
    """`diverging` where signed, else `sequential`."""
    return diverging(values) if signed else sequential(values)


def lab_to_rgb(lab: Float[Tensor, "3 *shape"]) -> Float[Tensor, "3 *shape"]:
    """sRGB (IEC 61966-2-1) of CIELAB under D65; outside [0, 1] where sRGB has no such colour."""
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
