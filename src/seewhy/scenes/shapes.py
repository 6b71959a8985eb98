"""Signed distances: negative inside, positive outside, zero on the outline.

Shapes use their own coordinates: x to the right and y down, in [-1, 1], with the lowest point at
y = 1. Far from the outline some values are only bounds of the distance, but near it all have slope
one, as anti-aliasing requires. Only arithmetic and square roots are used per pixel, so that a pixel
is identical, bit for bit, in every batch.

The ten classes are composed of discs, boxes and half-planes by union (min), intersection (max) and
difference (max with the negative), after Quilez, "2D distance functions".
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.scenes.factors import CLASSES

Plane = Float[Tensor, "#batch #height #width"]

# The named parts of the classes that have parts; the others are a single piece.
PARTS: dict[str, tuple[str, ...]] = {
    "box": ("body", "lid"),
    "mug": ("body", "handle"),
    "bottle": ("body", "neck", "cap"),
}
MOST_PARTS = 3
FAR = 10.0  # farther than any point of a picture, in a shape's own coordinates


def disc(x: Plane, y: Plane, radius: float | Tensor) -> Plane:
    """Return the signed distance to a disc around the origin."""
    return (x * x + y * y).sqrt() - radius


def slab(
    x: Plane,
    y: Plane,
    half_width: float | Tensor,
    half_height: float | Tensor,
    radius: float | Tensor = 0.0,
) -> Plane:
    """Return the signed distance to a box around the origin, with corners rounded by `radius`."""
    dx = x.abs() - (half_width - radius)
    dy = y.abs() - (half_height - radius)
    outside = (dx.clamp(min=0).square() + dy.clamp(min=0).square()).sqrt()
    return outside + torch.maximum(dx, dy).clamp(max=0) - radius


def ellipse(x: Plane, y: Plane, a: float | Tensor, b: float | Tensor) -> Plane:
    """Return the signed distance to an ellipse with half axes a and b; first order at its edge."""
    k = ((x / a).square() + (y / b).square()).sqrt()
    slope = ((x / (a * a)).square() + (y / (b * b)).square()).sqrt()
    return k * (k - 1) / slope.clamp(min=1e-6)


def _ball(x: Plane, y: Plane) -> list[Plane]:
    return [disc(x, y, 1.0)]


def _box(x: Plane, y: Plane) -> list[Plane]:
    """A gift box: a body, and a lid that is slightly wider."""
    body = slab(x, y - 0.3, 0.82, 0.7, 0.06)
    lid = slab(x, y + 0.62, 0.95, 0.24, 0.06)
    return [torch.maximum(body, -lid), lid]


def _pyramid(x: Plane, y: Plane) -> list[Plane]:
    """A triangle with its tip at the top, bounded by two slopes and a base."""
    half_base = 1.0
    run = math.hypot(2.0, half_base)
    slope = (2.0 * x.abs() - half_base * (y + 1)) / run
    return [torch.maximum(slope, y - 1)]


def _star(x: Plane, y: Plane) -> list[Plane]:
    """A five-pointed star: fold the plane onto a tenth of it, which has one straight edge.

    The edge runs from a tip at radius 1.05 to a notch at radius 0.46.
    """
    x, y = x.abs(), 0.12 - y  # relative to the star's centre, y up
    c, s = math.cos(0.2 * math.pi), math.sin(0.2 * math.pi)
    for nx, ny in ((c, -s), (-c, -s)):  # reflect points beyond each mirror line
        beyond = (x * nx + y * ny).clamp(min=0)
        x, y = x - 2 * beyond * nx, y - 2 * beyond * ny
    x = x.abs()
    tip, notch = (0.0, 1.05), (0.46 * s, 0.46 * c)
    ex, ey = notch[0] - tip[0], notch[1] - tip[1]
    length = math.hypot(ex, ey)
    return [((x - tip[0]) * -ey + (y - tip[1]) * ex) / length]


def _heart(x: Plane, y: Plane) -> list[Plane]:
    """A square standing on its corner, with a half disc on each of its two upper sides."""
    unit = 0.83  # half the square's diagonal
    across, up = x.abs(), 1 - y
    diagonal = math.sqrt(0.5)
    u, v = (across + up - unit) * diagonal, (up - across - unit) * diagonal
    square = slab(u, v, unit * diagonal, unit * diagonal)
    return [torch.minimum(square, disc(across - unit / 2, up - 1.5 * unit, unit * diagonal))]


def _cross(x: Plane, y: Plane) -> list[Plane]:
    upright = slab(x, y, 0.32, 1.0, 0.05)
    return [torch.minimum(upright, slab(x, y, 1.0, 0.32, 0.05))]


def _ring(x: Plane, y: Plane) -> list[Plane]:
    return [disc(x, y, 0.74).abs() - 0.26]


def _moon(x: Plane, y: Plane) -> list[Plane]:
    """A disc minus a smaller disc to its right."""
    return [torch.maximum(disc(x - 0.12, y, 1.0), -disc(x - 0.62, y + 0.12, 0.82))]


def _mug(x: Plane, y: Plane) -> list[Plane]:
    body = slab(x + 0.26, y - 0.1, 0.68, 0.9, 0.14)
    loop = slab(x - 0.4, y - 0.08, 0.46, 0.48, 0.3).abs() - 0.13
    return [body, torch.maximum(loop, -body)]


def _bottle(x: Plane, y: Plane) -> list[Plane]:
    body = slab(x, y - 0.4, 0.44, 0.6, 0.2)
    neck = torch.maximum(slab(x, y + 0.35, 0.17, 0.45), -body)
    cap = slab(x, y + 0.86, 0.22, 0.14, 0.05)
    return [body, torch.maximum(neck, -cap), cap]


SHAPES: dict[str, Callable[[Plane, Plane], list[Plane]]] = {
    "ball": _ball,
    "box": _box,
    "pyramid": _pyramid,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "ring": _ring,
    "moon": _moon,
    "mug": _mug,
    "bottle": _bottle,
}


def distances(shape: Tensor, x: Plane, y: Plane) -> Float[Tensor, "parts batch height width"]:
    """Return the signed distance to each part of every picture's shape; FAR for absent parts."""
    batch = torch.broadcast_shapes(x.shape, y.shape)
    x, y = x.expand(batch), y.expand(batch)
    result = x.new_full((MOST_PARTS, *batch), FAR)
    for index, name in enumerate(CLASSES):
        chosen = (shape == index).nonzero()[:, 0]
        if len(chosen):
            for part, distance in enumerate(SHAPES[name](x[chosen], y[chosen])):
                result[part, chosen] = distance
    return result
