"""A canvas that is painted from back to front and keeps track of what remains visible."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.scenes.shapes import Plane

Colour = Float[Tensor, "#batch 3 #height #width"]


@dataclass(frozen=True)
class Grid:
    """The scene coordinates of the pixels' centres, in units of the picture's shorter side.

    The central square of the picture is [0, 1] x [0, 1]; a longer side extends beyond it.
    """

    x: Float[Tensor, "1 1 width"]
    y: Float[Tensor, "1 height 1"]
    pixel: float  # the side length of a pixel

    @classmethod
    def of(cls, height: int, width: int, device: torch.device) -> "Grid":
        """Make the grid of a picture of `height` x `width` pixels."""
        pixel = 1 / min(height, width)
        x = 0.5 + (torch.arange(width, device=device) + 0.5 - width / 2) * pixel
        y = 0.5 + (torch.arange(height, device=device) + 0.5 - height / 2) * pixel
        return cls(x[None, None, :], y[None, :, None], pixel)

    @property
    def corner(self) -> tuple[float, float]:
        """The bottom right corner of the picture, as (x, y) in the scene."""
        half = self.pixel / 2
        return float(self.x[0, 0, -1]) + half, float(self.y[0, -1, 0]) + half

    def coverage(self, distance: Plane) -> Plane:
        """Return each pixel's coverage by a shape, from the signed distance of its centre."""
        return (0.5 - distance / self.pixel).clamp(0, 1)


@dataclass
class Canvas:
    """The pixels, and with `labels` the visible coverage of everything that was painted so far.

    Anything painted hides what was painted before, in the pixels and in the masks. Shadows only
    darken the pixels: they hide nothing and are stored separately.
    """

    pixels: Float[Tensor, "batch 3 height width"]
    labels: bool
    masks: dict[str, Plane] = field(default_factory=dict)
    parts: dict[str, Plane] = field(default_factory=dict)
    shadows: dict[str, Plane] = field(default_factory=dict)

    def paint(self, alpha: Plane, colour: Colour, name: str, parts: dict[str, Plane] | None = None):
        """Blend `colour` over the canvas by coverage `alpha`; `parts` are fractions of `alpha`."""
        # Not p + a (c - p), which at full coverage would still depend on p in the last bit.
        self.pixels = self.pixels * (1 - alpha)[:, None] + alpha[:, None] * colour
        if not self.labels:
            return
        alpha = alpha.expand(self.pixels[:, 0].shape)
        clear = 1 - alpha
        for plane in (*self.masks.values(), *self.parts.values()):
            plane *= clear
        _add(self.masks, name, alpha)
        for part, share in (parts or {}).items():
            _add(self.parts, f"{name} {part}", alpha * share)

    def shade(self, darkness: Plane, name: str):
        """Darken the canvas by a shadow; 0 has no effect, 1 is black."""
        self.pixels *= (1 - darkness)[:, None]
        if self.labels:
            _add(self.shadows, name, darkness.expand(self.pixels[:, 0].shape))

    def light(self, brightness: Tensor):
        """Multiply the pixels by the brightness of the light, and clamp them to [0, 1]."""
        self.pixels *= brightness
        self.pixels.clamp_(0, 1)


def _add(planes: dict[str, Plane], name: str, alpha: Plane):
    planes[name] = planes[name] + alpha if name in planes else alpha.clone()
