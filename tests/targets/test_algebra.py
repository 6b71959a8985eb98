"""Targets add up: what a sum is worth, how it is written, and that it can be read again."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import seewhy
from networks import Body
from seewhy import logit, region, unit
from seewhy.targets.parsing import parse
from seewhy.targets.questions import questions
from seewhy.targets.scores import Outputs, resolve
from seewhy.targets.terms import Sum, Target, terms

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
weights = st.integers(-40, 40).filter(bool).map(lambda n: n / 8)
sums = st.lists(st.tuples(weights, st.sampled_from(TERMS)), min_size=1, max_size=4)


def added(parts: list[tuple[float, Target]]) -> Target:
    first, *others = [weight * term for weight, term in parts]
    return sum(others, first)


def score(target: object) -> Tensor:
    """The explained number, by the plain gradient's own report of it."""
    return seewhy.explain(MODEL, PIXELS, "gradient", target).score


def by_hand(parts: list[tuple[float, Target]]) -> Tensor:
    """The weighted sum of what plain hooks see."""
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
        "7 - up": logits[:, 3],
        "12 gauge": logits[:, 4],
        "black-and-tan coonhound": logits[:, 2],
        "second:3": seen["second"][0][:, 3].sum((1, 2)),
        "second:3@1,2": seen["second"][0][:, 3, 1, 2],
        "relu#0:5": seen["relu"][0][:, 5].sum((1, 2)),
        "fc:1": logits[:, 1],
        "second:4@1:4,0:3": seen["second"][0][:, 4, 1:4, 0:3].sum((1, 2)),
    }
    return sum(weight * values[str(term)] for weight, term in parts)


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
    again = parse(str(target), MODEL, PIXELS)
    read, meant = ([(w, str(term)) for w, term in terms(t)] for t in (again, target))
    assert read == meant


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
    def map_of(target: object) -> Tensor:
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
    assert sum([a, b]) == a + b == Sum(((1.0, a), (1.0, b)))
    assert -(a - b) == Sum(((-1.0, a), (1.0, b)))
    assert (a + b) * 2 == 2 * (a + b) == 2 * a + 2 * b
    assert str(seewhy.total("dog", b, weights=[0.5, -1])) == "0.5 dog − second:3"
    assert str(seewhy.difference("dog", "tiger cat")) == "dog − tiger cat"
