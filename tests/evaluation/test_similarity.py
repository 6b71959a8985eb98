"""Similarity of maps, compared with scipy and with worked examples."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from seewhy.evaluation.similarity import rank_correlation, top_overlap

values = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=40
)  # many ties


@given(values)
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]):
    one, other = torch.tensor(pairs, dtype=torch.float32).T
    found = rank_correlation(one[None], other[None])
    if len(set(one.tolist())) == 1 or len(set(other.tolist())) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)


def test_only_the_order_counts():
    one = torch.rand(9, 7, generator=torch.Generator().manual_seed(1))
    assert rank_correlation(one, one.exp() * 100 - 7) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_has_no_order(value: float):
    one = torch.rand(4, 4)
    broken = one.clone()
    broken[0, 0] = value
    assert math.isnan(rank_correlation(one, broken))


def test_the_strongest_places_in_common():
    one, other = torch.zeros(10, 10), torch.zeros(10, 10)
    one[0, :5] = torch.tensor([9.0, 8, 7, 6, 5])
    other[0, 2:7] = torch.tensor([5.0, 6, 7, 8, 9])
    assert top_overlap(one, one) == 1
    assert top_overlap(one, other) == 3 / 5
    assert top_overlap(one, other, share=0.02) == 0


def test_places_without_evidence_are_not_among_the_strongest():
    """Two maps with one positive pixel each: shared zeros do not count as overlap."""
    one, other = torch.zeros(10, 10), torch.zeros(10, 10)
    one[0, 0] = other[5, 5] = 1.0
    assert top_overlap(one, other) == 0
    other[0, 0] = 2.0
    assert top_overlap(one, other) == 1 / 2, "relative to the larger set"
    assert math.isnan(top_overlap(one, torch.zeros(10, 10)))
    assert math.isnan(top_overlap(-one, -other))
