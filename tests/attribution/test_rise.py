"""RISE against a float64 loop over masks; the statistics of its masks; when it stops."""

import math

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, as_model
from seewhy.attribution.methods.rise import LEAST, RISE, RandomGrids
from seewhy.errors import SeewhyError
from seewhy.perturbation.scoring import TOGETHER

MEAN = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1).double()


def exact(name: str) -> tuple[seewhy.Model, Tensor]:
    case = NETWORKS[name]
    return as_model(case.build().double()), case.pixels().double()


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("score", ["probability", "logit"])
@pytest.mark.parametrize("network", ["batch_norm", "odd_size"])
def test_maps_are_weighted_means_of_masks(network: str, score: str, centred: bool):
    model, pixels = exact(network)
    method = RISE(masks=30, cells=4, keep=0.4, score=score, centred=centred)
    e = seewhy.explain(model, pixels, method, [0, 4, 2], seed=3)
    masks = RandomGrids(30, 4, 0.4, tuple(pixels.shape[2:]), 3).of(range(30))[0].double()
    for i, target in enumerate([0, 4, 2]):
        scores = []
        for mask in masks:
            logits = model((mask * pixels[i] + (1 - mask) * MEAN)[None])[0].detach()
            scores.append((logits.softmax(0) if score == "probability" else logits)[target])
        f = torch.stack(scores)
        mean = f.mean() if centred else 0.0
        weighted = sum((s - mean) * m[0] for s, m in zip(f, masks, strict=True))
        expected = weighted / 30 / 0.4 + mean
        torch.testing.assert_close(e.heatmap[i].double(), expected, rtol=1e-4, atol=1e-6)
        products = torch.stack([(s - mean) * m[0] for s, m in zip(f, masks, strict=True)])
        error = products.std(0, unbiased=True) / 30**0.5
        span = products.mean(0).max() - products.mean(0).min()
        if i == 0:
            first = seewhy.explain(model, pixels[:1], method, 0, seed=3)
            assert first.notes == (
                f"standard error {100 * float(error.mean() / span):.1f} % of the map's range",
            )


# Masks


@pytest.mark.parametrize(("cells", "size"), [(7, (56, 56)), (5, (33, 47)), (3, (20, 64))])
def test_masks_show_as_much_as_they_should_everywhere(cells: int, size: tuple[int, int]):
    masks = RandomGrids(3000, cells, 0.3, size, 0).of(range(3000))[0, :, 0]
    assert masks.shape == (3000, *size)
    assert float(masks.min()) >= 0 and float(masks.max()) <= 1 + 1e-6
    torch.testing.assert_close(masks.mean(0), torch.full(size, 0.3), rtol=0, atol=0.045)


def test_the_grid_is_shifted_by_every_part_of_a_cell():
    """Of a picture of 20 pixels and 4 cells a side: by 0 to 4 pixels, each as often."""
    grids = RandomGrids(2000, 4, 0.5, (20, 20), 0)
    shifts = grids.shifts
    assert shifts.shape == (2000, 2)
    counts = torch.bincount(shifts[:, 0] * 5 + shifts[:, 1], minlength=25)
    assert len(counts) == 25 and int(counts.min()) > 45 and int(counts.max()) < 120


def test_the_nth_mask_depends_on_seed_and_number_alone():
    few, many = (RandomGrids(n, 7, 0.5, (40, 40), 2) for n in (10, 300))
    assert torch.equal(few.of(range(10)), many.of(range(10)))
    assert torch.equal(many.of(range(37, 39)), many.of(range(30, 60))[:, 7:9])
    other = RandomGrids(10, 7, 0.5, (40, 40), 3)
    assert not torch.equal(few.of(range(10)), other.of(range(10)))


@pytest.mark.parametrize(("cells", "size"), [(4, (18, 23)), (7, (56, 56)), (2, (9, 5))])
def test_masks_are_those_of_the_paper(cells: int, size: tuple[int, int]):
    """Section 3.3, pixel by pixel: h x w cells up-sampled to (h + 1) C_H x (w + 1) C_W, cut out."""
    grids = RandomGrids(3, cells, 0.5, size, 1)
    cell = [math.ceil(side / cells) for side in size]
    for n in range(3):
        seen, shift = grids.seen[n].double(), grids.shifts[n].tolist()
        assert seen.shape == (cells, cells)
        assert all(0 <= s < c for s, c in zip(shift, cell, strict=True))

        def position(pixel: int, axis: int, shift: list[int] = shift) -> float:
            """Among the centres of the cells, each (h + 1) C_H / h pixels wide."""
            width = (cells + 1) * cell[axis] / cells
            inside = (pixel + shift[axis] + 0.5) / width - 0.5
            return min(max(inside, 0.0), cells - 1.0)  # the outermost go on to the border

        expected = torch.zeros(size).double()
        for y in range(size[0]):
            for x in range(size[1]):
                v, u = position(y, 0), position(x, 1)
                top, left = min(int(v), cells - 2), min(int(u), cells - 2)
                down, right = v - top, u - left
                corners = seen[top : top + 2, left : left + 2]
                weights = torch.tensor([[(1 - down) * (1 - right), (1 - down) * right],
                                        [down * (1 - right), down * right]]).double()  # fmt: skip
                expected[y, x] = (corners * weights).sum()
        found = grids.of(range(n, n + 1))[0, 0, 0].double()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


# Maps


class Corner(nn.Module):
    """A network whose logits are the brightness of one corner."""

    def forward(self, x: Tensor) -> Tensor:
        corner = x[:, :, :8, :8].mean((1, 2, 3))
        return torch.stack([corner, -corner], 1)


def test_centred_and_not_have_the_same_expectation_and_centred_is_less_noisy():
    model, pixels = as_model(Corner()), torch.full((1, 3, 24, 24), 0.9)

    def runs(centred: bool) -> Tensor:
        return torch.stack([
            seewhy.explain(model, pixels, "rise", 0, masks=300, centred=centred, seed=s,
                           score="probability").heatmap[0]
            for s in range(12)
        ])  # fmt: skip

    one, other = runs(True), runs(False)
    error = (one.std(0) + other.std(0)) / 12**0.5
    assert bool(((one.mean(0) - other.mean(0)).abs() < 5 * error + 1e-3).all())
    assert float(one.std(0).mean()) < 0.5 * float(other.std(0).mean())
    best = divmod(int(one.mean(0).argmax()), 24)
    assert best[0] < 8 and best[1] < 8


def test_the_standard_error_is_that_of_repeated_runs():
    model, pixels = as_model(Corner()), torch.full((1, 3, 24, 24), 0.9)
    maps, told = [], []
    for seed in range(16):
        e = seewhy.explain(model, pixels, "rise", 0, masks=200, seed=seed)
        maps.append(e.heatmap[0])
        told.append(float(e.notes[0].split()[2]) / 100)
    maps = torch.stack(maps)
    span = (maps.amax((1, 2)) - maps.amin((1, 2))).mean()
    found = float(maps.std(0).mean() / span)
    assert sum(told) / 16 == pytest.approx(found, rel=0.3)


class Rough(Corner):
    """The logits also depend on the fine structure of another corner."""

    def forward(self, x: Tensor) -> Tensor:
        rough = torch.sin(40 * x[:, :, 16:, 16:]).mean((1, 2, 3)) * 3
        return super().forward(x) + rough[:, None] * torch.tensor([1.0, -1.0])


@pytest.mark.parametrize("batch_size", [None, 2, 37])
def test_tolerance_stops_each_picture_when_it_is_good_enough(batch_size: int | None):
    """At the same mask for any other pictures in the batch and for any batch size."""
    pixels = torch.full((2, 3, 24, 24), 0.9)
    pixels[1] = 0.4 + 0.6 * torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    pixels[1, :, :8, :8] = 0.2
    model, method = as_model(Rough()), RISE(masks=3000, tolerance=0.07)
    together = seewhy.explain(model, pixels, method, 0, batch_size=batch_size)
    stops = []
    for i in range(2):
        one = seewhy.explain(model, pixels[i, None], method, 0)
        torch.testing.assert_close(one.heatmap, together.heatmap[i, None], rtol=1e-4, atol=1e-5)
        stops.append(round(one.cost.forwards) - 1)
        assert LEAST <= stops[i] < 3000
        assert float(one.notes[0].split()[2]) <= 7.0
        enough = seewhy.explain(model, pixels[i, None], RISE(masks=stops[i]), 0)
        torch.testing.assert_close(one.heatmap, enough.heatmap, rtol=1e-4, atol=1e-5)
        before = seewhy.explain(model, pixels[i, None], RISE(masks=stops[i] - TOGETHER), 0)
        assert float(before.notes[0].split()[2]) >= 7.0
    assert len(set(stops)) == 2


def test_seeds_make_other_maps_and_the_same_seed_the_same():
    model, pixels = exact("batch_norm")
    runs = [seewhy.explain(model, pixels, "rise", masks=40, seed=s).heatmap for s in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"masks": 1}, "at least 2, not 1"),
        ({"cells": 1}, "from 2 to 1000, not 1"),
        ({"keep": 0.0}, "between 0 and 1"),
        ({"keep": 1.0}, "between 0 and 1"),
        ({"tolerance": -1.0}, "at least 0"),
        ({"baseline": "nothing"}, "baseline"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict, words: str):
    with pytest.raises(SeewhyError, match=words):
        RISE(**wrong)
