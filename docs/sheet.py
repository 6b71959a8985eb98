"""A figure of a panel of methods: the picture, its mask if known, and every map."""

import io
import math
import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from seewhy.attribution.drawing import draw
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.explanation_text import layer_text, target_text
from seewhy.show.colour import colours
from seewhy.show.encoding import TINY
from seewhy.show.text import remarks

INK, FAINT = "#222222", "#666666"
MOST_ABREAST = 5
MOST_LETTERS = 34  # of a tile's title
DPI = 150

# In inches; a tile is 384 dots wide, six for each of 64 pixels.
TILE, GAP, MARGIN, HEADER, FOOTER = 2.56, 0.14, 0.1, 0.42, 0.3

Mask = Float[Tensor, "height width"]


@dataclass(frozen=True)
class Tile:
    """An image with a title and a note in small print."""

    title: str
    note: str
    image: Float[Tensor, "3 height width"]
    outlined: bool = False


def panel_png(panel: Panel, mask: Mask | None = None) -> bytes:
    """Return the figure of a panel's first picture, as the bytes of a PNG file.

    `mask`, in [0, 1], gets a tile of its own, and its outline is drawn on every map. The PNG's
    text entry "Description" lists the methods, comma-separated.
    """
    tiles = _tiles(panel, mask)
    lines = math.ceil(len(tiles) / MOST_ABREAST)
    per_row = math.ceil(len(tiles) / lines)
    height, width = tiles[0].image.shape[1:]
    grid = _Grid(per_row, lines, TILE * height / width)
    for place, tile in enumerate(tiles):
        axes = grid.axes(*divmod(place, per_row))
        _show(axes, tile)
        if mask is not None and tile.outlined:
            axes.contour(mask.numpy(), levels=[0.5], colors="white", linewidths=0.9, alpha=0.85)
    _legend(grid, panel)
    buffer = io.BytesIO()
    described = {"Description": ",".join(e.method for e in panel), "Software": None}
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        grid.figure.savefig(buffer, format="png", dpi=DPI, metadata=described)
    return buffer.getvalue()


def _tiles(panel: Panel, mask: Mask | None) -> list[Tile]:
    first = panel.explanations[0]
    name, probability = first.top(1)[0][0]
    explained = target_text(first)
    predicted = f"{name} {probability:.2f}"
    note = "predicted" + ("" if explained == predicted else f"; explained: {explained}")
    tiles = [Tile(predicted, note, draw(first).picture)]
    if mask is not None:
        tiles.append(Tile("exact mask", "of the object", mask.float().expand(3, -1, -1)))
    return [*tiles, *(_map_tile(e) for e in panel)]


def _map_tile(explanation: Explanation) -> Tile:
    drawing = draw(explanation)
    layer = layer_text(explanation)
    facts = [f"at {layer}"] if layer else []
    facts += ["for and against"] if explanation.signed else []
    facts += remarks(drawing.statistics)
    return Tile(explanation.method, " · ".join(facts), drawing.overlay, outlined=True)


class _Grid:
    """A figure with tiles placed in inches, a header above each tile and a footer below all."""

    def __init__(self, per_row: int, lines: int, tile_height: float):
        self.tile_height = tile_height
        self.width = 2 * MARGIN + per_row * (TILE + GAP) - GAP
        self.height = lines * (HEADER + tile_height + GAP) + FOOTER
        self.figure = Figure(figsize=(self.width, self.height), facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, line: int, column: int) -> Axes:
        below = line * (HEADER + self.tile_height + GAP) + HEADER
        return self.box(MARGIN + column * (TILE + GAP), below, TILE, self.tile_height)

    def box(self, left: float, below: float, width: float, height: float) -> Axes:
        """Add axes whose top is `below` inches under the top of the figure."""
        bottom = self.height - below - height
        shares = (
            left / self.width,
            bottom / self.height,
            width / self.width,
            height / self.height,
        )
        return self.figure.add_axes(shares)


def _show(axes: Axes, tile: Tile) -> None:
    small = min(tile.image.shape[1:]) < TINY
    axes.imshow(
        tile.image.permute(1, 2, 0).numpy(),
        interpolation="nearest" if small else "antialiased",
        aspect="auto",
    )
    axes.set_axis_off()
    place = {"transform": axes.transAxes, "parse_math": False, "ha": "left", "va": "bottom"}
    axes.text(0, 1.08, _clipped(tile.title, MOST_LETTERS), fontsize=10, color=INK, **place)
    axes.text(0, 1.015, _clipped(tile.note, 46), fontsize=7, color=FAINT, **place)


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _legend(grid: _Grid, panel: Panel) -> None:
    """Draw a colour bar for each kind of map in the panel."""
    width, height = 0.8, 0.1
    meanings = {False: "the brighter, the more", True: "blue against, orange for"}
    kinds = [signed for signed in meanings if any(e.signed is signed for e in panel)]
    for place, signed in enumerate(kinds):
        left, below = MARGIN + place * (TILE + GAP), grid.height - (FOOTER + height) / 2
        axes = grid.box(left, below, width, height)
        values = torch.linspace(-1.0 if signed else 0.0, 1, 256)
        axes.imshow(colours(values, signed).T[None].numpy(), aspect="auto")
        axes.set_axis_off()
        place_of_text = {"transform": axes.transAxes, "va": "center"}
        axes.text(1.08, 0.5, meanings[signed], fontsize=7.5, color=FAINT, **place_of_text)
