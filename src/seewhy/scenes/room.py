"""Paint the room and its furniture: wall, floor, window, lamp, rug, table and clutter.

Every function paints one thing on the canvas; `f` holds the factors with shape [batch, 1, 1].
An absent thing is painted with coverage 0, which leaves the canvas unchanged, bit for bit.
"""

import math

import torch
from torch import Tensor

from seewhy.scenes.canvas import Canvas, Grid
from seewhy.scenes.colours import oklch
from seewhy.scenes.factors import CLUTTER_MOST, Columns
from seewhy.scenes.shapes import Plane, disc, ellipse, slab

# Half width, half height and corner radius of a pencil, a book and a pebble.
CLUTTER_KINDS = ((0.052, 0.007, 0.006), (0.04, 0.027, 0.004), (0.03, 0.021, 0.02))


def rgb(red: float, green: float, blue: float, like: Tensor) -> Tensor:
    """Make a constant colour with shape [1, 3, 1, 1], which broadcasts over a batch."""
    return like.new_tensor([red, green, blue])[None, :, None, None]


def paint_wall(canvas: Canvas, grid: Grid, f: Columns):
    """Paint a wall over the whole picture, slightly darker towards the floor."""
    fade = 1.02 - 0.1 * grid.y
    everywhere = torch.ones_like(f.horizon)
    canvas.paint(everywhere, oklch(0.86, 0.05, f.factors.wall_hue) * fade[:, None], "wall")


def paint_floor(canvas: Canvas, grid: Grid, f: Columns):
    """Paint floor boards that converge above the horizon, and a skirting board behind them."""
    skirting = slab(grid.x - 0.5, grid.y - f.horizon, 1e3, 0.016)
    below = grid.coverage(f.horizon - grid.y)
    away = (grid.y - f.horizon + 0.14).clamp(min=0.01)  # 0 at the vanishing point
    board = (grid.x - 0.5 - 0.25 * f.viewpoint) / away / 0.24
    within = board - board.floor()
    to_seam = (0.5 - (within - 0.5).abs()) * (away * 0.24)
    seam = grid.coverage(to_seam - 0.012 * away)
    tone = 1 - 0.05 * (board.floor() % 2) - 0.22 * seam
    colour = oklch(0.66, 0.06, f.factors.floor_hue) * (tone * (0.86 + 0.2 * grid.y))[:, None]
    canvas.paint(below, colour, "floor")
    base = rgb(0.93, 0.92, 0.9, canvas.pixels)
    canvas.paint(grid.coverage(skirting) * grid.coverage(grid.y - f.horizon), base, "wall")


def paint_window(canvas: Canvas, grid: Grid, f: Columns):
    """Paint a white frame and sill around four panes, with the sky and a tree outside."""
    x, y = grid.x - f.window_x + 0.06 * f.viewpoint, grid.y - 0.24
    frame = torch.minimum(slab(x, y, 0.155, 0.165, 0.008), slab(x, y - 0.175, 0.185, 0.014, 0.008))
    pane = slab(x.abs() - 0.0715, y.abs() - 0.0765, 0.064, 0.069, 0.003)
    shown = f.window.to(grid.x.dtype)
    around, glass = grid.coverage(frame) * shown, grid.coverage(pane) * shown
    white, parts = rgb(0.95, 0.94, 0.92, canvas.pixels), {"frame": 1 - glass, "glass": glass}
    dusk = ((y + 0.15) / 0.3).clamp(0, 1)[:, None]
    low, high = rgb(0.88, 0.94, 0.96, dusk), rgb(0.55, 0.76, 0.93, dusk)
    sky = high + dusk * (low - high)
    canvas.paint(around, white + glass[:, None] * (sky - white), "window", parts)
    _paint_tree(canvas, grid, x - 0.03, y, glass * f.tree)


def _paint_tree(canvas: Canvas, grid: Grid, x: Plane, y: Plane, glass: Plane):
    """Paint a round crown on a trunk, visible only through the glass."""
    low = torch.minimum(disc(x + 0.045, y - 0.005, 0.055), disc(x - 0.045, y, 0.06))
    crown = torch.minimum(low, disc(x, y + 0.04, 0.065))
    trunk = torch.maximum(slab(x, y - 0.1, 0.014, 0.08), -crown)
    leafy = (0.5 + (trunk - crown) / (2 * grid.pixel)).clamp(0, 1)
    green, brown = rgb(0.36, 0.58, 0.34, x), rgb(0.42, 0.31, 0.22, x)
    lit = (1 - 1.6 * (y + 0.02)).clamp(0.8, 1.15)[:, None]
    colour = brown + leafy[:, None] * (green * lit - brown)
    alpha = grid.coverage(torch.minimum(crown, trunk)) * glass
    canvas.paint(alpha, colour, "tree", {"crown": leafy, "trunk": 1 - leafy})


def paint_rug(canvas: Canvas, grid: Grid, f: Columns):
    """Paint an oval rug with a pale band."""
    x = grid.x - 0.5 + 0.1 * f.viewpoint
    y = grid.y - 0.5 * (f.horizon + 1) - 0.04
    edge = ellipse(x, y, 0.37, 0.115)
    band = grid.coverage((ellipse(x, y, 0.335, 0.098)).abs() - 0.009)[:, None]
    wool, pale = oklch(0.6, 0.09, f.factors.decor_hue), oklch(0.85, 0.04, f.factors.decor_hue)
    canvas.paint(grid.coverage(edge) * f.rug, wool + band * (pale - wool), "rug")


def paint_lamp(canvas: Canvas, grid: Grid, f: Columns):
    """Paint a floor lamp: a shade on a pole with a foot. It glows but does not light the room."""
    x, y = grid.x - f.lamp_x + 0.06 * f.viewpoint, grid.y
    foot_y = f.horizon + 0.05
    middle = 0.5 * (foot_y + 0.3)
    pole = slab(x, y - middle, 0.0065, 0.5 * (foot_y - 0.3))
    stand = torch.minimum(pole, ellipse(x, y - foot_y, 0.055, 0.014))
    side = (x.abs() - 0.065 - 0.3 * (y - 0.3)) / math.hypot(1, 0.3)
    cover = torch.maximum(side, (y - 0.3).abs() - 0.065)
    stand = torch.maximum(stand, -cover)
    upper = (0.5 + (stand - cover) / (2 * grid.pixel)).clamp(0, 1)
    glow = (1.1 - 4 * x.square())[:, None]
    shade, metal = oklch(0.88, 0.08, f.factors.decor_hue) * glow, rgb(0.27, 0.25, 0.25, x)
    alpha = grid.coverage(torch.minimum(cover, stand)) * f.lamp
    colour = metal + upper[:, None] * (shade - metal)
    canvas.paint(alpha, colour, "lamp", {"shade": upper, "stand": 1 - upper})


def paint_table(canvas: Canvas, grid: Grid, f: Columns):
    """Paint a low round table under the object: a top seen from above, its edge, and two legs."""
    x, y = grid.x - f.object_x, grid.y - f.object_y
    half = 0.62 * f.object_scale + 0.03
    soft = ellipse(x, y - 0.2, half, 0.035)
    canvas.shade(0.28 * (0.5 - soft / 0.05).clamp(0, 1).square() * f.table, "table")
    top = ellipse(x, y, half, 0.042)
    lower = ellipse(x, y - 0.022, half, 0.042)
    edge = torch.minimum(lower, slab(x, y - 0.011, half, 0.011))
    splay = x.abs() - (0.62 * half + 0.12 * y)
    leg = torch.maximum(splay.abs() / math.hypot(1, 0.12) - 0.011, (y - 0.11).abs() - 0.1)
    board = torch.minimum(top, edge)
    upper = (0.5 + (torch.maximum(leg, -board) - board) / (2 * grid.pixel)).clamp(0, 1)
    light = grid.coverage(top)[:, None]
    wood, dark = rgb(0.8, 0.66, 0.5, x), rgb(0.58, 0.44, 0.31, x)
    alpha = grid.coverage(torch.minimum(board, leg)) * f.table
    colour = dark + light * (wood - dark)
    canvas.paint(alpha, colour, "table", {"top": upper, "leg": 1 - upper})


def paint_clutter(canvas: Canvas, grid: Grid, f: Columns, *, front: bool):
    """Paint pencils, books and pebbles: those in front of the object, or those behind it."""
    layout = f.factors.clutter_layout
    kinds = layout.new_tensor(CLUTTER_KINDS)
    for item in range(CLUTTER_MOST):
        place = layout[:, item].double()
        x = (0.04 + 0.92 * place[:, 0]).float()[:, None, None]
        y = (0.73 + 0.23 * place[:, 1]).float()[:, None, None]
        turn = (place[:, 2] - 0.5) * math.pi  # float64, see colours.oklch
        c, s = turn.cos().float()[:, None, None], turn.sin().float()[:, None, None]
        size = kinds[(place[:, 3] * len(kinds)).long().clamp(0, len(kinds) - 1)]
        half_width, half_height, radius = (column[:, None, None] for column in size.unbind(1))

        dx, dy = grid.x - x, (grid.y - y) / 0.7  # foreshortened
        body = slab(dx * c + dy * s, dy * c - dx * s, half_width, half_height, radius) * 0.8
        on_this_side = (y > f.object_y) == front
        shown = (f.clutter & (f.clutter_amount > item) & on_this_side).to(x.dtype)
        canvas.shade(0.3 * (1 - body / 0.015).clamp(0, 1).square() * shown, "clutter")
        colour = oklch(0.72, 0.08, f.factors.decor_hue + 0.17 * item)
        canvas.paint(grid.coverage(body) * shown, colour, "clutter")
