import pytest
import torch

from seewhy.show.statistics import statistics


def test_numbers_of_a_map_worked_by_hand():
    heatmap = torch.zeros(4, 5)
    heatmap[1, 4], heatmap[3, 0], heatmap[0, 0] = 6.0, 2.0, -2.0
    found = statistics(heatmap)
    assert (found.minimum, found.maximum) == (-2.0, 6.0)
    assert (found.positive, found.negative) == (pytest.approx(0.8), pytest.approx(0.2))
    assert found.peak == pytest.approx((0.9, 0.375))
    assert found.centre == pytest.approx((0.75 * 0.9 + 0.25 * 0.1, 0.75 * 0.375 + 0.25 * 0.875))
    assert found.half_area == 1 / 20


def test_half_of_even_evidence_lies_in_half_of_the_picture():
    found = statistics(torch.ones(10, 10))
    assert found.half_area == 0.5
    assert found.centre == pytest.approx((0.5, 0.5))


def test_a_map_without_evidence_against_says_a_plain_zero():
    assert str(statistics(torch.ones(2, 2)).negative) == "0.0"


def test_only_evidence_against_is_placed_by_its_size():
    heatmap = torch.zeros(2, 2)
    heatmap[1, 1] = -1
    assert statistics(heatmap).peak == (0.75, 0.75)


def test_what_is_not_finite_is_counted_and_left_out():
    heatmap = torch.tensor([[1.0, float("nan")], [float("-inf"), 3.0]])
    found = statistics(heatmap)
    assert (found.not_finite, found.count) == (2, 4)
    assert (found.minimum, found.maximum, found.positive) == (1.0, 3.0, 1.0)
    assert found.peak == (0.75, 0.75)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_map_without_evidence_has_no_places(value):
    found = statistics(torch.full((3, 3), value))
    assert found.peak is found.centre is found.half_area is None
    assert found.all_zero


def test_huge_values_do_not_overflow():
    found = statistics(torch.full((3, 3), 3e38))
    assert found.half_area == pytest.approx(5 / 9)
