"""The `Picture` class, an upright RGB picture in [0, 1], and the check of that range."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError

# Rounding errors of float arithmetic are at most this far outside [0, 1]; they are just clamped.
ROUNDING = 1e-4

LARGEST = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright RGB picture at its original size.

    - `pixels`: float32 in [0, 1], on the CPU.
    - `source`: the path of the file, or "array".
    - `notes`: changes that the user may not expect, such as "first of 12 frames".
    - `bands`: all channels of data that are neither grey nor RGB, float32 in [0, 1]; `pixels` then
      shows the first three of them, or of two the first. None otherwise.
    """

    pixels: Float[Tensor, "3 height width"]
    source: str
    notes: tuple[str, ...] = ()
    bands: Float[Tensor, "bands height width"] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]


def picture_from_channels(values: Tensor, source: str, notes: tuple[str, ...] = ()) -> Picture:
    """Make a `Picture` from 1 to 4 channels [channels, height, width]; see `unit_range` for dtypes.

    Grey is repeated to RGB; transparent pixels are blended with white, which is noted.
    """
    channels = unit_range(values, source)
    if channels.shape[0] in (2, 4):
        colour, alpha = channels[:-1], channels[-1:]
        channels = colour * alpha + (1 - alpha)
        if alpha.min() < 1:
            notes = (*notes, "transparent parts blended with white")
    return Picture(channels.expand(3, -1, -1).contiguous(), source, notes)


def picture_from_bands(values: Tensor, source: str) -> Picture:
    """Make a `Picture` of data with any number of channels [channels, height, width]."""
    bands = unit_range(values, source)
    return Picture(as_rgb(bands).contiguous(), source, bands=bands)


def as_rgb(channels: Float[Tensor, "channels height width"]) -> Float[Tensor, "3 height width"]:
    """Return the first three channels, or the first one three times where there are fewer."""
    return channels[:3] if len(channels) >= 3 else channels[:1].expand(3, -1, -1)


def unit_range(values: Tensor, source: str = "array") -> Tensor:
    """Convert values to float32 in [0, 1]: integers are divided by their maximum, floats checked.

    Raises `SeewhyError` for another dtype, NaN, infinity, or floats outside [0, 1].
    """
    if values.dtype in LARGEST:
        return values.float() / LARGEST[values.dtype]
    if not values.is_floating_point():
        raise SeewhyError(
            f"{source} holds {values.dtype} values; give uint8 in 0..255 or floats in [0, 1]"
        )
    values = values.float()
    if not values.isfinite().all():
        raise SeewhyError(f"{source} holds NaN or infinite values; give RGB in [0, 1]")
    low, high = values.min().item(), values.max().item()
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise SeewhyError(f"{source} has values from {low:.3g} to {high:.3g}: {_hint(low, high)}")
    return values.clamp(0, 1)


def _hint(low: float, high: float) -> str:
    if low >= 0 and 2 < high <= 255:
        return "looks like 0 to 255; divide by 255, or give uint8"
    return "looks like it was already normalised; give RGB in [0, 1]"
