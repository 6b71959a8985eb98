from dataclasses import FrozenInstanceError

import pytest
import torch

import seewhy
from networks import NETWORKS, Body
from seewhy.attribution.explanation import Cost, Explanation, Panel, joined
from seewhy.errors import NotApplicable, Unknown

PIXELS = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
CLASSES = ["ant", "bee", "cat", "dog", "eel"]


@pytest.fixture
def explanation() -> Explanation:
    return seewhy.explain(
        seewhy.Model(Body(), classes=CLASSES), PIXELS, "integrated-gradients", [0, 1, 2], steps=4
    )


def test_one_picture_of_several(explanation: Explanation):
    assert len(explanation) == 3
    for index, picture in enumerate([0, 1, -1]):
        one = explanation[picture]
        assert len(one) == 1 == len(one.batch)
        assert torch.equal(one.heatmap[0], explanation.heatmap[index])
        assert one.target_names == [CLASSES[index]]
        assert one.residual is not None and explanation.residual is not None
        assert one.residual[0] == explanation.residual[index]
    assert [one.target_names[0] for one in explanation] == ["ant", "bee", "cat"]
    with pytest.raises(IndexError):
        explanation[3]


def test_probabilities_and_top_classes(explanation: Explanation):
    softmax = explanation.logits.exp() / explanation.logits.exp().sum(1, keepdim=True)
    expected = [softmax[i, i] for i in range(3)]
    torch.testing.assert_close(explanation.probabilities, torch.stack(expected))
    top = explanation.top(2)
    for row, probabilities in zip(top, softmax, strict=True):
        order = probabilities.argsort(descending=True)[:2]
        assert [name for name, _ in row] == [CLASSES[i] for i in order]
        assert [p for _, p in row] == pytest.approx(probabilities[order].tolist())
    assert len(explanation.top(99)[0]) == 5


def test_classes_without_names():
    e = seewhy.explain(Body(), PIXELS, "gradient", 4)
    assert e.target_names == ["class 4"] * 3


def test_what_is_explained_where_it_is_no_class():
    model = seewhy.Model(Body(), classes=CLASSES)
    e = seewhy.explain(model, PIXELS, "gradient", [2, "second:3", seewhy.difference("dog", 1)])
    assert e.target.tolist() == [2, -1, -1]
    assert e.target_names == ["cat", "second:3", "dog − bee"]
    assert e.probabilities[0] == e.logits[0].softmax(0)[2]
    assert bool(e.probabilities[1:].isnan().all())
    expected = [e.logits[0, 2], e.score[1], e.logits[2, 3] - e.logits[2, 1]]
    torch.testing.assert_close(e.score, torch.stack(expected))
    (one,) = e[1]
    assert one.target_names == ["second:3"] and one.score == e.score[1]
    assert "second:3 = " in repr(e) and "nan" not in repr(e)
    again = joined(list(e))
    assert again.target_names == e.target_names and torch.equal(again.score, e.score)


def test_the_map_on_the_original_picture():
    """A wide picture is cropped at the centre, so its sides have no values."""
    model = seewhy.Model(Body(), size=16)
    e = seewhy.explain(model, torch.rand(3, 16, 32), "gradient")
    (original,) = e.to_original()
    assert original.shape == (16, 32)
    assert bool(original[:, :8].isnan().all()) and bool(original[:, 24:].isnan().all())
    torch.testing.assert_close(original[:, 8:24], e.heatmap[0])


def test_values_cannot_be_exchanged(explanation: Explanation):
    with pytest.raises(FrozenInstanceError):
        explanation.heatmap = torch.zeros(3, 16, 16)  # pyright: ignore


def test_shapes_are_checked(explanation: Explanation):
    import dataclasses

    from jaxtyping import TypeCheckError

    with pytest.raises(TypeCheckError):
        dataclasses.replace(explanation, heatmap=torch.zeros(3, 16))
    with pytest.raises(TypeCheckError):
        dataclasses.replace(explanation, target=explanation.target[:2])


def test_joined_parts_are_the_whole(explanation: Explanation):
    again = joined(list(explanation))
    for name in ("heatmap", "attribution", "target", "score", "logits", "residual"):
        assert torch.equal(getattr(again, name), getattr(explanation, name)), name
    assert torch.equal(again.batch.pixels, explanation.batch.pixels)
    assert len(again.batch.pictures) == len(again.batch.views) == 3
    assert again.cost.seconds == pytest.approx(3 * explanation.cost.seconds)
    assert again.cost.forwards == explanation.cost.forwards
    assert joined([explanation]) is explanation


def test_joined_costs_are_weighted_by_pictures(explanation: Explanation):
    import dataclasses

    few = dataclasses.replace(explanation[0], cost=Cost(1, 2, 3.0, 1), notes=("a", "b"))
    many = dataclasses.replace(explanation, cost=Cost(5, 6, 1.0, 0), notes=("b", "c"))
    both = joined([few, many])
    assert both.cost == Cost(4, 5, 4.0, 0.25)
    assert both.notes == ("a", "b", "c")


def test_panel():
    case = NETWORKS["perceptron"]
    panel = seewhy.compare(case.model(), case.pixels(), ["gradient", "grad-cam", "smoothgrad"])
    assert isinstance(panel, Panel) and len(panel) == 2
    assert panel["smoothgrad"] is panel.explanations[1]
    with pytest.raises(NotApplicable, match="rows and columns"):
        panel["grad-cam"]
    with pytest.raises(Unknown, match="did you mean gradient"):
        panel["gradint"]


def test_it_introduces_itself_in_one_line(explanation: Explanation):
    said = repr(explanation)
    assert "\n" not in said and len(said) < 200
    for word in ("ant", "bee", "cat", "integrated-gradients"):
        assert word in said
    assert repr(joined([explanation, explanation])).count("3 more") == 1
