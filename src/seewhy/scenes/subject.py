"""Paint the main object, with its texture, shading and shadow, and the mark."""

import torch
from torch import Tensor

from seewhy.scenes.canvas import Canvas, Grid
from seewhy.scenes.colours import oklch
from seewhy.scenes.factors import CLASSES, TEXTURES, Columns
from seewhy.scenes.room import rgb
from seewhy.scenes.shapes import PARTS, Plane, distances, slab

PERIOD = 0.5  # of every texture, as a fraction of half the object's extent


def paint_shadow(canvas: Canvas, grid: Grid, f: Columns):
    """Paint a soft elliptical shadow, shifted away from the light."""
    x = grid.x - f.object_x + 0.16 * f.light_direction * f.object_scale
    a, b = 0.62 * f.object_scale, 0.13 * f.object_scale
    inside = (1 - (x / a).square() - ((grid.y - f.object_y) / b).square()).clamp(min=0)
    canvas.shade(0.62 * inside * f.object, "object")


def paint_object(canvas: Canvas, grid: Grid, f: Columns):
    """Paint the main object, lit from the direction of the light."""
    half = 0.5 * f.object_scale
    x, y = (grid.x - f.object_x) / half, (grid.y - f.object_y) / half + 1
    parts = distances(f.factors.shape, x, y) * half
    edge = parts.amin(0)
    shares = _shares(parts, grid.pixel)
    tone = 1 - 0.16 * shares[1] - 0.3 * shares[2]
    colour = _texture(x, y, half, grid, f) * (tone * _shading(x, y, edge / half, f))[:, None]
    spot = 1 - ((x - 0.32 * f.light_direction) / 0.5).square() - ((y + 0.42) / 0.4).square()
    shine = (0.22 * spot.clamp(min=0).square())[:, None]
    alpha = grid.coverage(edge) * f.object
    canvas.paint(alpha, colour + shine * (1 - colour), "object")
    if canvas.labels:
        _label_parts(canvas, alpha, shares, f)


def paint_mark(canvas: Canvas, grid: Grid, f: Columns):
    """Paint a small pale tile with a dark bar in the bottom right corner of the picture."""
    right, bottom = grid.corner
    x, y = grid.x - (right - 0.06), grid.y - (bottom - 0.06)
    tile = slab(x, y, 0.04, 0.04, 0.008)
    bar = grid.coverage(slab(x, y, 0.024, 0.009))[:, None]
    pale, dark = rgb(0.97, 0.97, 0.95, x), rgb(0.12, 0.12, 0.14, x)
    canvas.paint(grid.coverage(tile) * f.mark, pale + bar * (dark - pale), "mark")


def _shares(parts: Tensor, pixel: float) -> Tensor:
    """Return the fraction of each pixel that belongs to each part; they sum to 1 per pixel."""
    shares, edge = [torch.ones_like(parts[0])], parts[0]
    for part in parts[1:]:
        new = (0.5 + (edge - part) / (2 * pixel)).clamp(0, 1)
        shares = [share * (1 - new) for share in shares] + [new]
        edge = torch.minimum(edge, part)
    return torch.stack(shares)


def _shading(x: Plane, y: Plane, depth: Plane, f: Columns) -> Plane:
    """Return the brightness: higher towards the light and the top, lower towards the outline."""
    rim = (1 + depth / 0.3).clamp(0, 1)  # 1 at the outline, 0 far inside
    return 0.98 + 0.14 * f.light_direction * x - 0.1 * y - 0.22 * rim.square()


def _texture(x: Plane, y: Plane, half: Tensor, grid: Grid, f: Columns) -> Tensor:
    """Return the object's colour, with a pale pattern of stripes, checks or dots."""
    pixel = grid.pixel / half  # in the object's own coordinates
    u, v = _wave(x, pixel), _wave(y, pixel)
    near_x, near_y = _to_centre(x), _to_centre(y)
    dot = (0.5 - ((near_x.square() + near_y.square()).sqrt() - 0.3 * PERIOD) / pixel).clamp(0, 1)
    bars, squares = v.expand(dot.shape), u + v - 2 * u * v
    patterns = {"plain": torch.zeros_like(dot), "stripes": bars, "checks": squares, "dots": dot}
    pale = torch.zeros_like(dot)
    for index, name in enumerate(TEXTURES):
        pale = pale + patterns[name] * (f.texture == index)
    rich, light = oklch(0.65, 0.16, f.factors.object_hue), oklch(0.89, 0.07, f.factors.object_hue)
    return rich + pale[:, None] * (light - rich)


def _to_centre(along: Tensor) -> Tensor:
    """Return the signed distance to the centre of the period that contains each point."""
    return (along / PERIOD - (along / PERIOD).floor() - 0.5) * PERIOD


def _wave(along: Tensor, pixel: Tensor) -> Tensor:
    """Return bars that fill half of every period, with edges one pixel wide."""
    return (0.5 - (_to_centre(along).abs() - 0.25 * PERIOD) / pixel).clamp(0, 1)


def _label_parts(canvas: Canvas, alpha: Plane, shares: Tensor, f: Columns):
    for name, parts in PARTS.items():
        here = alpha * (f.shape == CLASSES.index(name))
        for part, share in zip(parts, shares, strict=False):
            canvas.parts[f"{name} {part}"] = here * share
