"""The numbers of the pages: what they are, and that they are what is measured."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[2]))  # for docs

from docs.families import PAGES
from docs.measures import Row, alike, energy_inside, filled, hit, measured

MASK = torch.tensor([[[0.0, 1.0, 0.5], [0.0, 1.0, 0.4], [0.0, 0.0, 0.0]]])


def slow_energy(heatmap: Tensor, mask: Tensor) -> float:
    inside = total = 0.0
    for row, masked in zip(heatmap.double().tolist(), mask.double().tolist(), strict=True):
        for value, coverage in zip(row, masked, strict=True):
            if value > 0:
                total += value
                inside += value * coverage
    return inside / total if total else 0.0


def slow_hit(heatmap: Tensor, mask: Tensor) -> float:
    values, covered = heatmap.flatten().tolist(), mask.flatten().tolist()
    if max(values) <= 0:
        return 0.0
    maxima = [
        coverage >= 0.5 for v, coverage in zip(values, covered, strict=True) if v == max(values)
    ]
    return sum(maxima) / len(maxima)


def maps() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 3, 3, generator=generator)


def test_both_are_what_the_loops_say():
    heatmaps = torch.cat([maps(), maps().round(), -maps().abs()])  # with ties, and without energy
    masks = torch.rand(60, 3, 3, generator=torch.Generator().manual_seed(1))
    pairs = list(zip(heatmaps, masks, strict=True))
    assert energy_inside(heatmaps, masks).tolist() == pytest.approx(
        [slow_energy(*p) for p in pairs]
    )
    assert hit(heatmaps, masks).tolist() == pytest.approx([slow_hit(*p) for p in pairs])


@pytest.mark.parametrize(
    ("heatmap", "energy", "hits"),
    [
        ((MASK == 1).float(), 1.0, 1.0),
        ((MASK == 0).float(), 0.0, 0.0),
        (torch.zeros(1, 3, 3), 0.0, 0.0),
        (-MASK, 0.0, 0.0),
        (torch.ones(1, 3, 3), 2.9 / 9, 3 / 9),  # a flat map: the share of the area
        (2 * (MASK == 1).float() - 5 * (MASK == 0), 1.0, 1.0),  # what is negative does not count
    ],
)
def test_maps_with_known_answers(heatmap, energy, hits):
    assert float(energy_inside(heatmap, MASK)) == pytest.approx(energy)
    assert float(hit(heatmap, MASK)) == pytest.approx(hits)


def test_an_empty_mask_holds_nothing():
    assert float(energy_inside(maps()[:1].abs(), torch.zeros(1, 3, 3))) == 0
    assert float(hit(maps()[:1].abs(), torch.zeros(1, 3, 3))) == 0


def test_alike_is_a_cosine():
    heatmaps = maps()
    assert alike(heatmaps, 3 * heatmaps).tolist() == pytest.approx([1.0] * 20)
    assert alike(heatmaps, -heatmaps).tolist() == pytest.approx([-1.0] * 20)
    expected = [
        float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())
        for a, b in zip(heatmaps.double(), heatmaps.flip(0).double(), strict=True)
    ]
    assert alike(heatmaps, heatmaps.flip(0)).tolist() == pytest.approx(expected)


def test_a_line_of_the_table():
    energy = torch.tensor([0.2, 0.4], dtype=torch.float64)
    row = Row("cam", energy, torch.tensor([1.0, 0.0]), torch.tensor([-0.5]), 1.0, 0.0)
    half = 1.96 * 100 * 0.1 * 2**0.5 / 2**0.5
    assert str(row) == f"| `cam` | 30.0 ± {half:.1f} | 1 | −0.50 | 1 | 0 |\n"


def test_only_what_stands_between_the_marks_is_written():
    one = torch.ones(2)
    rows = {"scenes": [Row(name, one, one, one) for name in ("flat", "cam", "gradient")]}
    page = "before\n<!-- measured: cams -->\nold\n<!-- end -->\nafter\n"
    new = filled(page, rows)
    assert new.startswith("before\n<!-- measured: cams -->\n| method |")
    assert new.endswith("<!-- end -->\nafter\n")
    assert "old" not in new and "`cam`" in new and "`gradient`" not in new
    assert filled(new, rows) == new


@pytest.mark.slow
def test_the_page_says_what_is_measured():
    """On all scenes, for methods that are quick; other machines round a little differently."""
    page = (PAGES / "README.md").read_text()
    for row in measured(["gradient", "input-x-gradient", "cam", "eigen-cam"]):
        line = re.search(rf"^\| `{row.method}` \| (.*) \|$", page, flags=re.MULTILINE)
        assert line, row.method
        energy, hits, same, forwards, backwards = line[1].replace("−", "-").split(" | ")
        assert float(energy.split(" ± ")[0]) == pytest.approx(
            100 * float(row.energy.mean()), abs=0.2
        )
        assert float(hits) == pytest.approx(float(row.hits.sum()), abs=2)
        assert float(same) == pytest.approx(float(row.alike.mean()), abs=0.02)
        assert (float(forwards), float(backwards)) == (row.forwards, row.backwards)
