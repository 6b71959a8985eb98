"""Render factors as pictures with exact labels.

A picture is painted from back to front in sRGB. Every operation per pixel is plain arithmetic, so a
picture is identical, bit for bit, alone and in any batch, and two scenes that differ in one factor
differ only in the pixels that the factor affects.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.scenes.canvas import Canvas, Grid
from seewhy.scenes.colours import COLOURS, colour_index
from seewhy.scenes.factors import CLASSES, TEXTURES, Columns, Factors
from seewhy.scenes.room import (
    paint_clutter,
    paint_floor,
    paint_lamp,
    paint_rug,
    paint_table,
    paint_wall,
    paint_window,
)
from seewhy.scenes.subject import paint_mark, paint_object, paint_shadow

CHUNK = 2**16  # pixels painted at a time, so that a plane fits into the processor's cache
THINGS = ("wall", "floor", "window", "tree", "rug", "lamp", "table", "clutter", "object", "mark")


@dataclass(frozen=True)
class ConceptLabels:
    """Concept labels per pixel: one integer map per category, where 0 means none.

    `names[category][k]` is the name of label k.
    """

    maps: dict[str, Int[Tensor, "batch height width"]]
    names: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Labels:
    """Visible coverage in [0, 1], after occlusion; see `Scene` for the names."""

    masks: dict[str, Float[Tensor, "batch height width"]]
    parts: dict[str, Float[Tensor, "batch height width"]]
    shadows: dict[str, Float[Tensor, "batch height width"]]


@dataclass(frozen=True)
class Scene:
    """Rendered pictures with exact labels, which are computed on first access."""

    pixels: Float[Tensor, "batch 3 height width"]  # sRGB in [0, 1]
    factors: Factors

    def __len__(self) -> int:
        return len(self.factors)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    @property
    def label(self) -> Int[Tensor, " batch"]:
        """The class, an index into CLASSES; -1 where the main object is absent."""
        return torch.where(self.factors.object, self.factors.shape, -1)

    @cached_property
    def labels(self) -> Labels:
        """Masks, parts and shadows, from a second rendering of the same scenes."""
        canvases = list(_canvases(self.factors, self.size, labels=True))
        return Labels(*(_join(canvases, kind) for kind in ("masks", "parts", "shadows")))

    @property
    def masks(self) -> dict[str, Float[Tensor, "batch height width"]]:
        """Visible coverage per thing, by the names in THINGS; they sum to 1 at every pixel."""
        return self.labels.masks

    @property
    def parts(self) -> dict[str, Float[Tensor, "batch height width"]]:
        """Visible coverage per part, such as "mug handle" or "lamp shade"."""
        return self.labels.parts

    @property
    def shadows(self) -> dict[str, Float[Tensor, "batch height width"]]:
        """Darkness of the shadows of table, clutter and object, before occlusion."""
        return self.labels.shadows

    @cached_property
    def boxes(self) -> dict[str, Int[Tensor, "batch 4"]]:
        """The bounding box (top, left, bottom, right) of each thing's mask >= 0.5, in pixels.

        Bottom and right are exclusive; all four are 0 if the thing is not visible.
        """
        return {name: _box(mask >= 0.5) for name, mask in self.masks.items()}

    @cached_property
    def concepts(self) -> ConceptLabels:
        """Labels per pixel in four categories: object, part, texture and color.

        A pixel has the label of an object, part or texture that covers at least half of it. The
        main object is labelled by its class. The colour is the basic colour term that is nearest
        to the rendered pixel in OKLab; every pixel has one.
        """
        things = {n: m for n, m in self.masks.items() if n != "object"}
        subject = self.masks["object"]
        for index, name in enumerate(CLASSES):
            things[name] = subject * _column(self.factors.shape == index)
        textures = {
            name: subject * _column(self.factors.texture == index)
            for index, name in enumerate(TEXTURES)
        }
        textures["boards"] = self.masks["floor"]
        coverage = {"object": things, "part": self.parts, "texture": textures}
        maps = {category: _majority(planes) for category, planes in coverage.items()}
        names = {category: ("none", *planes) for category, planes in coverage.items()}
        maps["color"], names["color"] = colour_index(self.pixels), ("none", *COLOURS)
        return ConceptLabels(maps, names)


def render(factors: Factors, size: int | tuple[int, int] = 64) -> Scene:
    """Render scenes at any size in pixels: an integer for a square, or (height, width).

    A picture that is not square shows more of the room along its longer side. Raises a
    SeewhyError for a size below 1, or an object scale that is not positive.
    """
    height, width = _size(size)
    if not (factors.object_scale > 0).all():
        smallest = float(factors.object_scale.min())
        raise SeewhyError(f"object_scale must be positive, got {smallest:g}")
    painted = [canvas.pixels for canvas in _canvases(factors, (height, width), labels=False)]
    empty = torch.zeros(0, 3, height, width, device=factors.horizon.device)
    return Scene(torch.cat(painted) if painted else empty, factors)


def _canvases(factors: Factors, size: tuple[int, int], *, labels: bool) -> Iterator[Canvas]:
    """Yield the painted canvases of the batch, one chunk at a time."""
    grid = Grid.of(*size, factors.horizon.device)
    step = max(1, CHUNK // (size[0] * size[1]))
    for start in range(0, len(factors), step):
        yield _paint(factors[start : start + step], grid, labels)


def _paint(factors: Factors, grid: Grid, labels: bool) -> Canvas:
    height, width = grid.y.shape[1], grid.x.shape[2]
    blank = torch.zeros(len(factors), 3, height, width, device=grid.x.device)
    canvas, f = Canvas(blank, labels), Columns(factors)
    paint_wall(canvas, grid, f)
    paint_floor(canvas, grid, f)
    paint_window(canvas, grid, f)
    paint_rug(canvas, grid, f)
    paint_lamp(canvas, grid, f)
    paint_table(canvas, grid, f)
    paint_shadow(canvas, grid, f)
    paint_clutter(canvas, grid, f, front=False)
    paint_object(canvas, grid, f)
    paint_clutter(canvas, grid, f, front=True)
    canvas.light(_light(grid, f))
    paint_mark(canvas, grid, f)
    return canvas


def _light(grid: Grid, f: Columns) -> Tensor:
    """Compute the light on every pixel: a soft light from one side, a vignette, and the tint."""
    from_lamp = (grid.x - 0.5 - 0.55 * f.light_direction).square() + (grid.y - 0.1).square()
    pool = 1 / (1 + 1.6 * from_lamp)
    vignette = 1 - 0.2 * ((grid.x - 0.5).square() + (grid.y - 0.5).square()).clamp(max=1)
    level = (0.56 + 0.22 * f.light + (0.14 + 0.28 * f.light) * pool) * vignette
    warmth = 0.06 * f.tint
    return level[:, None] * torch.stack([1 + warmth, 1 + 0 * warmth, 1 - warmth], dim=1)


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise SeewhyError(f"size must be at least 1 pixel on each side, got {height} x {width}")
    return height, width


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def _join(canvases: list[Canvas], kind: str) -> dict[str, Any]:
    planes = [getattr(canvas, kind) for canvas in canvases]
    return {name: torch.cat([p[name] for p in planes]) for name in (planes[0] if planes else {})}


def _majority(planes: dict[str, Tensor]) -> Int[Tensor, "batch height width"]:
    """Return 1 + the index of the plane that covers at least half of the pixel, or 0."""
    most, index = torch.stack(list(planes.values())).max(0)
    return torch.where(most >= 0.5, 1 + index, 0)


def _box(seen: Tensor) -> Int[Tensor, "batch 4"]:
    rows, columns = seen.any(2), seen.any(1)
    (top, bottom), (left, right) = _ends(rows), _ends(columns)
    return torch.stack([top, left, bottom, right], dim=1)


def _ends(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and one past the last true index per row; 0 and 0 if there is none."""
    first = seen.int().argmax(1)
    past = seen.shape[1] - seen.flip(1).int().argmax(1)
    return first, past * seen.any(1)
