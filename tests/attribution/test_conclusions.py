"""The conclusions of a report follow from the measurements; families contain every method."""

import dataclasses

import pytest
import torch

import seewhy
from seewhy.attribution.conclusions import conclusions, shared_top
from seewhy.attribution.families import FAMILIES, OTHERS, by_family, in_turns
from seewhy.attribution.report import Chapter, report_html


def with_map(explanation, heatmap: torch.Tensor, method: str = "grad-cam"):
    made = dataclasses.replace(explanation.provenance, method=method)
    return dataclasses.replace(explanation, heatmap=heatmap[None], provenance=made, residual=None)


@pytest.fixture
def slope(explanation) -> torch.Tensor:
    height, width = explanation.heatmap.shape[1:]
    return torch.arange(height * width, dtype=torch.float32).reshape(height, width)


def test_methods_that_agree_and_methods_that_do_not(explanation, slope):
    one = explanation[0]
    first, same, opposite = (with_map(one, values) for values in (slope, 2 * slope, -slope))
    assert shared_top([first, same], 0) == 1
    assert shared_top([first, opposite], 0) == 0
    assert "agree on the location" in " ".join(conclusions([first, same], 0))
    assert "different locations" in " ".join(conclusions([first, opposite], 0))


def test_a_flat_map_agrees_with_nothing(explanation, slope):
    one = explanation[0]
    assert shared_top([with_map(one, slope), with_map(one, slope * 0)], 0) is None
    assert shared_top([with_map(one, slope)], 0) is None


@pytest.mark.parametrize(
    ("logits", "says"), [([2.0, 1.9, 0.0], "undecided between"), ([9.0, 0.0, 0.0], "well ahead")]
)
def test_how_sure_the_model_is(explanation, logits, says):
    one = dataclasses.replace(
        explanation[0], logits=torch.tensor([logits]), target=torch.tensor([0])
    )
    assert says in conclusions([one], 0)[0]


@pytest.mark.parametrize(("residual", "told"), [(0.2, True), (0.01, False), (float("nan"), True)])
def test_a_sum_that_falls_short_is_told(explanation, residual, told):
    one = dataclasses.replace(explanation[0], residual=torch.tensor([residual]))
    assert any("should add up" in text for text in conclusions([one], 0)) is told


def test_every_method_has_one_family():
    named = [name for names in FAMILIES.values() for name in names]
    assert sorted(named) == sorted(set(named))
    assert set(seewhy.methods()) <= set(named)


def test_the_first_look_is_at_several_families(explanation, slope):
    names = ["cam", "my-own", "gradient", "grad-cam", "occlusion"]
    made = [with_map(explanation[0], slope, name) for name in names]
    assert [e.method for e in in_turns(made)] == [
        "grad-cam",
        "occlusion",
        "gradient",
        "my-own",
        "cam",
    ]
    assert [e.method for e in by_family(made)[OTHERS]] == ["my-own"]


def test_a_wrong_answer_is_marked_where_the_truth_is_known(explanation):
    name, said = (
        explanation.batch.pictures[0].source.rsplit("/", 1)[-1],
        explanation.top(1)[0][0][0],
    )
    assert "Wrong prediction: " in report_html([Chapter([explanation], right={name: ["zebra"]})])
    assert "Wrong prediction: " not in report_html([Chapter([explanation], right={name: [said]})])
    assert "Wrong prediction: " not in report_html([explanation])
