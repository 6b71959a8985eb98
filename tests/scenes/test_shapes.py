"""Outlines against slow float64 references: even-odd polygons and membership from the formula."""

import math

import numpy as np
import pytest
import torch

from seewhy.scenes import CLASSES, render, sample
from seewhy.scenes.shapes import FAR, distances, ellipse

FINE = 12  # samples per pixel and axis


def inside_star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Even-odd rule on the star's ten corners, y down, centred at (0, 0.12)."""
    angles = [k * math.pi / 5 for k in range(10)]
    radii = [1.05 if k % 2 == 0 else 0.46 for k in range(10)]
    corners = [
        (r * math.sin(a), 0.12 - r * math.cos(a)) for r, a in zip(radii, angles, strict=True)
    ]
    inside = np.zeros(x.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0 + 1e-300) * (x1 - x0))
    return inside


def inside_moon(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.hypot(x - 0.12, y) < 1) & (np.hypot(x - 0.62, y + 0.12) > 0.82)


def inside_heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    up, unit = 1 - y, 0.83
    square = np.abs(x) + np.abs(up - unit) < unit
    lobes = [np.hypot(x - s * unit / 2, up - 1.5 * unit) < unit * math.sqrt(0.5) for s in (-1, 1)]
    return square | lobes[0] | lobes[1]


REFERENCES = {
    "ball": lambda x, y: np.hypot(x, y) < 1,
    "pyramid": lambda x, y: (y < 1) & (np.abs(x) < (y + 1) / 2),
    "star": inside_star,
    "heart": inside_heart,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.74) < 0.26,
    "moon": inside_moon,
}


@pytest.mark.parametrize("name", list(REFERENCES))
@pytest.mark.parametrize("size", [64, 150])
def test_coverage_matches_a_supersampled_reference(name, size):
    factors = sample(1, 3).replace(shape=name, clutter=False, object_scale=0.4, object_y=0.9)
    mask = render(factors, size).masks["object"][0].double().numpy()

    centres = (np.arange(size * FINE) + 0.5) / (size * FINE)
    x0, y0 = float(factors.object_x), float(factors.object_y)
    half = float(factors.object_scale) / 2
    x, y = (centres[None, :] - x0) / half, (centres[:, None] - y0) / half + 1
    member = REFERENCES[name](*np.broadcast_arrays(x, y)).astype(np.float64)
    exact = member.reshape(size, FINE, size, FINE).mean((1, 3))

    assert mask.sum() == pytest.approx(exact.sum(), rel=0.01)
    assert np.abs(mask - exact).mean() < 0.002
    # A linear ramp differs from the area under a straight edge by less than 0.12 of a pixel;
    # only sharp corners, a few pixels, may differ more.
    assert (np.abs(mask - exact) > 0.15).sum() <= 12


@pytest.mark.parametrize("name", CLASSES)
def test_a_shape_stands_at_the_bottom_of_its_frame_and_fills_it(name):
    ticks = torch.linspace(-1.2, 1.2, 481)
    x, y = ticks[None, None, :], ticks[None, :, None]
    edge = distances(torch.tensor([CLASSES.index(name)]), x, y).amin(0)[0]
    rows, columns = (edge < 0).any(1).nonzero()[:, 0], (edge < 0).any(0).nonzero()[:, 0]
    bottom, top = float(ticks[rows[-1]]), float(ticks[rows[0]])
    width = float(ticks[columns[-1]] - ticks[columns[0]])
    assert bottom == pytest.approx(1, abs=0.06)
    assert abs(float(ticks[columns[0]] + ticks[columns[-1]])) < 0.12  # around the middle
    assert max(bottom - top, width) == pytest.approx(2, abs=0.12)


@pytest.mark.parametrize("name", CLASSES)
def test_distances_have_slope_one_at_the_outline(name):
    ticks = torch.linspace(-1.2, 1.2, 481)
    x, y = ticks[None, None, :], ticks[None, :, None]
    edge = distances(torch.tensor([CLASSES.index(name)]), x, y).amin(0)[0]
    step = float(ticks[1] - ticks[0])
    down, right = torch.gradient(edge, spacing=step)
    slope = (down.square() + right.square()).sqrt()[edge.abs() < 2 * step]
    assert slope.quantile(0.1) > 0.95 and slope.quantile(0.9) < 1.05


def test_parts_do_not_overlap_and_absent_parts_are_far_away():
    ticks = torch.linspace(-1.2, 1.2, 121)
    every = torch.arange(len(CLASSES))
    x, y = ticks[None, None, :], ticks[None, :, None]
    parts = distances(every, x.expand(len(every), -1, -1), y.expand(len(every), -1, -1))
    assert ((parts < -1e-6).sum(0) <= 1).all()
    assert (parts[1:, CLASSES.index("ball")] == FAR).all()
    assert (parts[2, CLASSES.index("bottle")] < 0).any()


def test_an_ellipse_is_right_to_first_order_at_its_edge():
    angle = torch.linspace(0, 2 * math.pi, 50, dtype=torch.float64)[None, None]
    a, b, step = 0.4, 0.1, 1e-4
    x, y = a * angle.cos(), b * angle.sin()
    normal = torch.stack([x / a**2, y / b**2])
    nx, ny = normal / normal.norm(dim=0)
    assert ellipse(x, y, a, b).abs().max() < 1e-9
    moved = ellipse(x + step * nx, y + step * ny, a, b)
    assert torch.allclose(moved, torch.full_like(moved, step), rtol=0.02)
