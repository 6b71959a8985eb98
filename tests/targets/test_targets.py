"""How target arguments are resolved; values are tested in test_scores."""

import numpy as np
import pytest
import torch

import seewhy
from networks import NETWORKS, Body
from seewhy.errors import NotApplicable, SeewhyError, Unknown
from seewhy.targets.questions import deepest_layer, questions
from seewhy.targets.scores import Score, resolve
from seewhy.targets.terms import Direction, Unit

LOGITS = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
MODEL = seewhy.Model(Body(), classes=["cat, tabby", "Dog", "snow_leopard"])
PIXELS = torch.rand(2, 3, 16, 16)


def resolved(target, model: seewhy.Model = MODEL) -> Score:
    (question,) = questions(target, 2, model, PIXELS)
    return resolve(question, LOGITS, model)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [1, 0]),
        (2, [2, 2]),
        ("2", [2, 2]),
        ("dog", [1, 1]),
        ("tabby", [0, 0]),
        ("Snow leopard", [2, 2]),
        ([0, 2], [0, 2]),
        (("dog", 0), [1, 0]),
        (torch.tensor([2, 1]), [2, 1]),
        (torch.tensor(1), [1, 1]),
        (np.int64(1), [1, 1]),
        (np.array([2, 1]), [2, 1]),
        (range(2), [0, 1]),
        (seewhy.total("dog"), [1, 1]),
        (["dog", seewhy.total(0)], [1, 0]),
    ],
    ids=str,
)
def test_classes(target, expected: list[int]):
    found = resolved(target)
    assert found.target.tolist() == expected and found.target.dtype == torch.int64
    assert found.labels == ("", "") and found.hidden == ()
    assert torch.equal(found.weights, torch.eye(3)[expected])


@pytest.mark.parametrize(
    ("target", "label", "weights"),
    [
        (seewhy.total("dog", "tabby"), "Dog + cat", [1, 1, 0]),
        (seewhy.total(0, 2, weights=[0.5, -2]), "0.5 cat − 2 snow_leopard", [0.5, 0, -2]),
        (seewhy.total(1, weights=[-1]), "− Dog", [0, -1, 0]),
        (seewhy.total(1, weights=torch.tensor([2.0])), "2 Dog", [0, 2, 0]),
        (seewhy.difference("dog", 2), "Dog − snow_leopard", [0, 1, -1]),
    ],
    ids=str,
)
def test_sums_of_classes(target, label: str, weights: list[float]):
    found = resolved(target)
    assert found.target.tolist() == [-1, -1] and found.labels == (label, label)
    assert found.weights.tolist() == [weights, weights]


@pytest.mark.parametrize(
    ("target", "label"),
    [
        ("second:3", "second:3"),
        (" second:3@1,2 ", "second:3@1,2"),
        ("relu#0:5", "relu#0:5"),
        ("fc:1", "fc:1"),
        (seewhy.direction("second", range(8)), "direction in second"),
        (seewhy.direction("relu#1", torch.ones(8), name="stripes"), "stripes"),
    ],
    ids=str,
)
def test_hidden_units_and_directions(target, label: str):
    found = resolved(target)
    assert found.target.tolist() == [-1, -1] and found.labels == (label, label)
    assert not found.weights.any()
    ((one, pictures),) = found.hidden
    assert isinstance(one, Unit | Direction) and pictures.tolist() == [True, True]


def test_one_for_each_picture_of_any_kind():
    found = resolved(["second:3", "dog"])
    assert found.target.tolist() == [-1, 1] and found.labels == ("second:3", "")
    ((_, pictures),) = found.hidden
    assert pictures.tolist() == [True, False]


def test_several_questions():
    asked = questions(seewhy.each(None, "dog", ["second:3", 0]), 2, MODEL, PIXELS)
    found = [resolve(one, LOGITS, MODEL) for one in asked]
    assert [one.target.tolist() for one in found] == [[1, 0], [1, 1], [-1, 0]]
    again = questions(seewhy.each(*asked), 2, MODEL, PIXELS)
    assert again == asked


@pytest.mark.parametrize("target", [3, -1, "3", "-1", [0, 3], seewhy.total(0, 3)], ids=str)
def test_out_of_range(target):
    with pytest.raises(SeewhyError, match="3 classes, 0 to 2"):
        resolved(target)


@pytest.mark.parametrize("target", [[0], [0, 1, 2], torch.tensor([1]), [], seewhy.each(0, [1])])
def test_the_number_of_targets_is_that_of_the_pictures(target):
    with pytest.raises(SeewhyError, match="for 2 pictures"):
        questions(target, 2, MODEL, PIXELS)


def test_the_nearest_class_names_are_offered():
    with pytest.raises(Unknown, match="did you mean Dog"):
        resolved("dogs")


def test_the_nearest_units_are_offered():
    with pytest.raises(Unknown, match=r"unknown class or unit 'secnod:7'; did you mean second:7"):
        resolved("secnod:7")


def test_names_need_names():
    with pytest.raises(SeewhyError, match="has no class names; give class 'dog' by index"):
        resolved("dog", seewhy.Model(Body()))


@pytest.mark.parametrize("target", [1.5, "--2", "²", {"dog": 1}, [None, 1], b"dog"], ids=str)
def test_what_is_no_class_is_refused_in_one_line(target):
    with pytest.raises(SeewhyError) as caught:
        resolved(target)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_a_number_is_a_name_first():
    """Digits as class names, not in numerical order."""
    model = seewhy.Model(Body(), classes=["7", "8", "9"])
    assert resolved("8", model).target.tolist() == [1, 1]


def test_a_name_that_could_be_a_unit_is_refused():
    model = seewhy.Model(Body(), classes=["cat", "fc:1", "dog"])
    with pytest.raises(SeewhyError, match="can be read as 'fc:1' or as fc:1"):
        resolved("fc:1", model)
    assert resolved("'fc:1'", model).target.tolist() == [1, 1]
    assert resolved(seewhy.logit("fc:1"), model).target.tolist() == [1, 1]
    assert resolved(seewhy.unit("fc:1"), model).target.tolist() == [-1, -1]
    assert resolved("fc:0", model).labels == ("fc:0", "fc:0")


WRONG = [
    (lambda: seewhy.total(), "at least one class"),
    (lambda: seewhy.total(0, 1, weights=[1]), "2 classes and 1 weights"),
    (lambda: seewhy.total(0, weights=[float("nan")]), "finite"),
    (lambda: seewhy.total(0, weights="heavy"), "a sequence of numbers"),
    (lambda: seewhy.difference("dog", 1), "Dog − Dog is zero for every picture"),
    (lambda: seewhy.each(), "at least one target"),
    (lambda: seewhy.each(1, seewhy.each(2)), "put all targets into one"),
    (lambda: seewhy.direction("second", [0.0] * 8), "not all of them zero"),
    (lambda: seewhy.direction("second", torch.ones(2, 4)), "a sequence of numbers"),
    (lambda: seewhy.direction("second", torch.tensor(1.0)), "a sequence of numbers"),
    (lambda: seewhy.direction("second:1", [1.0]), "a whole layer: second, not second:1"),
    (lambda: seewhy.direction("secnod", [1.0] * 8), "did you mean second"),
    (lambda: seewhy.direction("relu#2", [1.0] * 8), "runs 2 times"),
    (lambda: seewhy.direction("second", [1.0] * 7), "8 channels, but the vector has 7 numbers"),
    (lambda: "second:8", "8 channels, counted from 0"),
    (lambda: "second:0@8,0", "8 rows and 8 columns"),
    (lambda: "fc:0@0,0", "no rows and columns"),
    (lambda: "relu#2:0", "runs 2 times"),
    (lambda: "second@1,1", "unknown class"),
    (lambda: "second", "unknown class"),
    (lambda: seewhy.total("secnod:1"), "unknown class or unit"),
    (lambda: "dog - ", "sign without a term"),
    (lambda: "dog + + cat", "sign without a term"),
    (lambda: "dog - wolf", "unknown class 'wolf'"),
    (lambda: "second:0@0:9,0:2", "8 rows and 8 columns"),
    (lambda: "fc:0@0:1,0:1", "no rows and columns"),
    (lambda: seewhy.unit("second"), "name a channel, such as second:0"),
    (lambda: seewhy.region("second:1", (3, 3), (0, 2)), "rows must be two increasing integers"),
    (lambda: seewhy.logit("dog") * float("nan"), "finite number"),
    (lambda: seewhy.logit("dog") - 1, r"write logit\(1\)"),
    (lambda: seewhy.unit("second:1") - seewhy.unit("second:1"), "zero for every picture"),
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=[words for _, words in WRONG])
def test_mistakes_end_in_one_line(make, words: str):
    with pytest.raises(SeewhyError, match=words) as caught:
        seewhy.explain(MODEL, PIXELS, "gradient", make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("network", "target", "layer"),
    [
        ("batch_norm", "6.2:0", "5"),  # the default layer for classes
        ("batch_norm", "5:0", "5"),
        ("batch_norm", "3:0", "3"),
        ("hidden_layer", "4:0", "1"),  # after pooling and flattening
        ("reused_relu", "relu#0:0", "relu#0"),
        ("vit", "blocks.0.mlp.0:3", "blocks.0.mlp.0"),
        ("vit", "norm:3", "blocks.1.norm1"),
        ("swin_like", "blocks.0:3", "blocks.0"),
        ("squeeze_and_excite", "gate.1:0", "relu"),  # the gate's pool has no rows and columns
    ],
)
def test_the_deepest_layer_with_a_map_before_a_unit(network: str, target: str, layer: str):
    case = NETWORKS[network]
    (asked,) = questions(target, 1, case.model(), case.pixels(1))
    assert deepest_layer(asked, case.model().layer_graph(case.pixels(1))) == layer


def test_no_layer_with_a_map_before_a_unit():
    case = NETWORKS["perceptron"]
    with pytest.raises(NotApplicable, match="no layer before 1 keeps"):
        seewhy.explain(case.model(), case.pixels(), "grad-cam", "1:0")
