"""Sums of targets: their value, their text, and parsing of that text."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import seewhy
from networks import Body
from seewhy import logit, region, unit
from seewhy.errors import SeewhyError
from seewhy.targets.parsing import parse
from seewhy.targets.questions import questions
from seewhy.targets.scores import Outputs, resolve
from seewhy.targets.terms import Sum, Target, TargetLike, terms

NAMES = ["tiger cat", "dog", "black-and-tan coonhound", "7 - up", "12 gauge"]
PIXELS = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

with torch.random.fork_rng():
    torch.manual_seed(0)
    NET = Body()
    NET.fc = torch.nn.Linear(8, len(NAMES))
MODEL = seewhy.Model(NET, mean=0.5, std=0.25, classes=NAMES)

TERMS = [
    logit("dog"),
    logit("tiger cat"),
    logit("7 - up"),
    logit("12 gauge"),
    logit("black-and-tan coonhound"),
    unit("second:3"),
    unit("second:3@1,2"),
    unit("relu#0:5"),
    unit("fc:1"),
    region("second:4", (1, 4), (0, 3)),
]
# The text of any float parses to the same float; eighths add without rounding.
weights = st.integers(-40, 40).filter(bool).map(lambda n: n / 8)
sums = st.lists(st.tuples(weights, st.sampled_from(TERMS)), min_size=1, max_size=4)


def added(parts: list[tuple[float, Target]]) -> Target:
    first, *others = [weight * term for weight, term in parts]
    return sum(others, first)


def score(target: TargetLike) -> Tensor:
    """The explained score, as reported by the plain gradient method."""
    return seewhy.explain(MODEL, PIXELS, "gradient", target).score


def by_hand(parts: list[tuple[float, Target]]) -> Tensor:
    """The weighted sum of the values that plain hooks read."""
    seen: dict[str, list[Tensor]] = {}
    handles = [
        module.register_forward_hook(lambda m, i, o, name=name: seen.setdefault(name, []).append(o))
        for name, module in NET.named_modules()
        if name
    ]
    with torch.no_grad():
        logits = NET((PIXELS - 0.5) / 0.25)
    for handle in handles:
        handle.remove()
    values = {
        "dog": logits[:, 1],
        "tiger cat": logits[:, 0],
        "'7 - up'": logits[:, 3],
        "'12 gauge'": logits[:, 4],
        "black-and-tan coonhound": logits[:, 2],
        "second:3": seen["second"][0][:, 3].sum((1, 2)),
        "second:3@1,2": seen["second"][0][:, 3, 1, 2],
        "relu#0:5": seen["relu"][0][:, 5].sum((1, 2)),
        "fc:1": logits[:, 1],
        "second:4@1:4,0:3": seen["second"][0][:, 4, 1:4, 0:3].sum((1, 2)),
    }
    return sum(weight * values[str(term)] for weight, term in parts)


def written_terms(target: Target) -> set[tuple[float, str]]:
    """The terms of a target as text: equal terms can come from text and from Python."""
    return {(weight, str(term)) for weight, term in terms(target)}


def is_zero(parts: list[tuple[float, Target]]) -> bool:
    total: dict[str, float] = {}
    for weight, term in parts:
        total[str(term)] = total.get(str(term), 0.0) + weight
    return not any(total.values())


@settings(deadline=None, max_examples=40)
@given(sums.filter(lambda parts: not is_zero(parts)))
def test_a_sum_is_the_sum_of_what_hooks_see(parts):
    torch.testing.assert_close(score(added(parts)), by_hand(parts), rtol=1e-4, atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(sums.filter(lambda parts: not is_zero(parts)))
def test_what_is_printed_can_be_read_again(parts):
    target = added(parts)
    assert written_terms(parse(str(target), MODEL, PIXELS)) == written_terms(target)


@given(sums, sums, st.integers(-8, 8))
def test_sums_obey_the_rules_of_algebra(some, others, factor: int):
    a, b = added(some), added(others)
    if not is_zero(some):
        assert written_terms(a + b - b) == written_terms(a)
    if factor and not is_zero([*some, *others]):
        assert written_terms(factor * (a + b)) == written_terms(factor * a + factor * b)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dog - tiger cat", logit("dog") - "tiger cat"),
        ("0.5*dog + second:3", 0.5 * logit("dog") + unit("second:3")),
        (".5 dog − 2 second:3@1,2", 0.5 * logit("dog") - 2 * unit("second:3@1,2")),
        ("- dog", -logit("dog")),
        ("'tiger cat' - 'dog'", logit("tiger cat") - "dog"),
        ("'7 - up' - dog", logit("7 - up") - "dog"),
        ("1e-1 * dog - 1", 0.1 * logit("dog") - logit("1")),
        ("black-and-tan coonhound - dog", logit("black-and-tan coonhound") - "dog"),
        ("second:4@1:4,0:3 + dog", region("second:4", (1, 4), (0, 3)) + "dog"),
    ],
)
def test_text(text: str, expected: Target):
    torch.testing.assert_close(score(text), score(expected))
    torch.testing.assert_close(score([text, "dog"])[0], score(expected)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_is_a_class_is_that_class(name: str):
    e = seewhy.explain(MODEL, PIXELS, "gradient", name)
    assert e.target.tolist() == [NAMES.index(name)] * 2 and e.target_names == [name] * 2


def test_the_gradient_of_a_sum_is_the_sum_of_gradients():
    def map_of(target: TargetLike) -> Tensor:
        return seewhy.explain(MODEL, PIXELS, "gradient", target).attribution

    whole = map_of(2 * logit("dog") - 0.5 * unit("second:3"))
    torch.testing.assert_close(whole, 2 * map_of("dog") - 0.5 * map_of("second:3"))


@pytest.mark.parametrize("method", ["grad-cam", "lrp-epsilon-plus", "occlusion", "deep-lift"])
def test_methods_take_sums_of_logits_and_units(method: str):
    e = seewhy.explain(MODEL, PIXELS, method, "dog - 0.1*second:3")
    assert e.target_names == ["dog − 0.1 second:3"] * 2 and e.target.tolist() == [-1, -1]
    assert e.heatmap.isfinite().all() and e.heatmap.any()


def test_a_unit_that_is_not_finite_does_not_reach_pictures_that_do_not_ask_for_it():
    (asked,) = questions(["dog", "second:3"], 2, MODEL, PIXELS)
    found = resolve(asked, torch.zeros(2, len(NAMES)), MODEL)
    graph = MODEL.layer_graph(PIXELS)
    ((term, _),) = found.hidden
    maps = torch.full((2, 8, 8, 8), torch.inf)
    outputs = Outputs(torch.ones(2, len(NAMES)), {term.place: maps}, graph)
    assert found.of(outputs).tolist() == [1.0, torch.inf]


def test_python_operators():
    a, b = logit("dog"), unit("second:3")
    assert (a - 2 * b) / 4 == 0.25 * a - 0.5 * b
    assert sum([a, b]) == a + b == Sum(((1.0, a), (1.0, b)))
    assert -(a - b) == Sum(((-1.0, a), (1.0, b)))
    assert (a + b) * 2 == 2 * (a + b) == 2 * a + 2 * b
    assert str(seewhy.total("dog", b, weights=[0.5, -1])) == "0.5 dog − second:3"
    assert str(seewhy.difference("dog", "tiger cat")) == "dog − tiger cat"


@given(st.floats(allow_nan=False, allow_infinity=False).filter(bool))
def test_any_weight_reads_back(weight: float):
    target = weight * logit("dog")
    assert terms(parse(str(target), MODEL, PIXELS)) == ((weight, logit("dog")),)


@pytest.mark.parametrize(
    ("classes", "text", "expected"),
    [
        (["a", "b", "a - b", "dog"], "'dog' - 'a - b'", logit("dog") - "a - b"),
        (["a - b", "dog", "c"], "dog - a - b", logit("dog") - logit("a - b")),
        (["yellow lady's slipper", "jack-o'-lantern", "c"], None, None),
    ],
)
def test_names_with_signs_and_apostrophes(classes: list[str], text: str | None, expected):
    model = seewhy.Model(NET, mean=0.5, std=0.25, classes=classes + ["x"] * (5 - len(classes)))
    if text is None:
        text, expected = " - ".join(classes[:2]), logit(classes[0]) - logit(classes[1])
    assert written_terms(parse(text, model, PIXELS)) == written_terms(expected)


@pytest.mark.parametrize("text", ["dog - a - b", "a - b", "0.5 a - b + dog", "second:3 + dog"])
def test_a_text_with_two_meanings_is_refused(text: str):
    classes = ["a", "b", "a - b", "dog", "second:3"]
    model = seewhy.Model(NET, mean=0.5, std=0.25, classes=classes)
    with pytest.raises(SeewhyError, match=r"can be read as .* or as .*quotation marks"):
        parse(text, model, PIXELS)


def test_the_predicted_class_and_a_class_by_index_as_text():
    logits = MODEL(PIXELS).detach()
    torch.testing.assert_close(score("predicted class - class 2"), logits.max(1)[0] - logits[:, 2])
    assert str(logit(3) - logit(1)) == "class 3 − class 1"


def test_a_mask_weights_the_cells_it_covers():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[:12, 20:] = True
    activation = seewhy.capture(MODEL, PIXELS, ["second"])["second"]
    covered = torch.zeros(8, 8)
    covered[:3, 5:] = 1  # each cell has 32 / 8 = 4 rows and columns of the mask
    expected = (activation[:, 3] * covered).sum((1, 2))
    target = region("second:3", mask)
    torch.testing.assert_close(score(target), expected)
    torch.testing.assert_close(score(target - 2 * unit("second:3")), expected - 2 * score(TERMS[5]))
    torch.testing.assert_close(score(region("second:3", mask.numpy())), expected)
    assert str(target) == "second:3 under a mask of 14%"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: region("second:3", torch.zeros(4, 4)), "not all of them 0"),
        (lambda: region("second:3", torch.full((4, 4), 2.0)), "from 0 to 1"),
        (lambda: region("second:3", torch.ones(4)), "rows and columns"),
        (lambda: region("second:3", (0, 2)), "rows and columns, or one mask"),
        (lambda: region("second:3", (0.5, 2), (0, 1)), "two integers"),
        (lambda: region("second:3", torch.ones(3), (0, 1)), "two integers"),
        (lambda: logit(True), "an index or a name"),
        (lambda: logit(1) * True, "finite number"),
        (lambda: logit(1) / 0, "divided by zero"),
        (lambda: score(region("fc:1", torch.ones(2, 2))), "no rows and columns"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message: str):
    with pytest.raises(SeewhyError, match=message):
        wrong()
