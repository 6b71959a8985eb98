"""The tree of a result in a notebook: every field, and the contents of tensors."""

import math
from dataclasses import dataclass

import pytest
import torch

from seewhy.show.tree import tree


@dataclass
class Box:
    inside: object


def test_every_field_of_a_result_is_there(explanation):
    shown = tree("result", explanation)
    for field in ("heatmap", "attribution", "batch", "pixels", "provenance", "residual"):
        assert f"<b>{field}</b>" in shown
    assert "float32 [2 × 12 × 16]" in shown
    assert "<script>" not in shown


@pytest.mark.parametrize("value", [torch.full((9,), math.nan), torch.ones(9), torch.zeros(0)])
def test_tensors_without_a_histogram(value):
    assert "svg" not in tree("t", value)


def test_a_histogram_counts():
    values = torch.cat([torch.zeros(90), torch.ones(10), torch.tensor([math.inf])])
    shown = tree("t", Box(values))
    assert "0 to 1 · 1 not finite" in shown
    assert shown.count("M") == 2 and "v-14h" in shown and "v-2h" in shown


def test_long_lists_are_counted():
    assert "1,000: a, a, a, …" in tree("names", ["a"] * 1000)
    assert "… 8 more" in tree("tensors", [torch.zeros(2)] * 20)
