"""Which rule is chosen for which operation, and how to write a rule or composite of one's own."""

import re
from collections.abc import Collection, Iterator
from textwrap import dedent

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, as_model, normed
from seewhy.attribution.explain import parse_methods
from seewhy.attribution.methods import lrp
from seewhy.autodiff.operations import Linear
from seewhy.autodiff.rules import Rules, composites
from seewhy.autodiff.rules import linear as linear_rules
from seewhy.autodiff.rules.base import Rule, stabilised
from seewhy.autodiff.rules.composites import (
    always,
    at_depth,
    composite,
    in_layer,
    is_convolution,
    reads_picture,
)
from seewhy.autodiff.rules.linear import epsilon, for_linear, gamma
from seewhy.autodiff.tape import Tape
from seewhy.errors import SeewhyError
from seewhy.models.session import borrowed


class Net(nn.Module):
    """Two ways from the picture, of three convolutions and of one, then two dense layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), normed(4), nn.ReLU())
        self.body = nn.ModuleDict({"a": nn.Conv2d(4, 4, 3, padding=1), "b": nn.Conv2d(4, 4, 1)})
        self.beside = nn.Conv2d(3, 4, 1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.hidden, self.fc = nn.Linear(4, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.body["b"](F.relu(self.body["a"](self.stem(x))))
        x = self.up(F.relu(deep + self.beside(x)))
        return self.fc(F.relu(self.hidden(x.mean((2, 3)))))


DEPTHS = {
    "stem.0": 1, "body.a": 2, "body.b": 3, "beside": 1, "up": 4, "hidden": 5, "fc": 6,
}  # fmt: skip

CHOICES = {
    "always": (always, set(DEPTHS)),
    "is_convolution": (is_convolution, {"stem.0", "body.a", "body.b", "beside", "up"}),
    "reads_picture": (reads_picture, {"stem.0", "beside"}),
    "in_layer, exactly": (in_layer("body.a"), {"body.a"}),
    "in_layer, pattern": (in_layer("body*"), {"body.a", "body.b"}),
    "at_depth": (at_depth(2, 4), {"body.a", "body.b", "up"}),
    "last": (at_depth(6, 6), {"fc"}),
    "own": (lambda op: op.type == "dense" and op.weight.shape[0] == CLASSES, {"fc"}),
}


def noting(chosen: set[str]) -> Rule:
    def rule(op: Linear, cotangent: Tensor) -> Tensor:
        assert op.layer is not None
        chosen.add(op.layer)
        return op.transposed(cotangent)

    return for_linear(rule)


def recorded(kinds: Collection[str], net: nn.Module, x: Tensor) -> tuple[Tape, Tensor]:
    names = {id(p): name.rpartition(".")[0] for name, p in net.named_parameters()}
    tape = Tape(kinds, x, names)
    with borrowed(net), tape:
        return tape, net(x)


@pytest.mark.parametrize("name", CHOICES)
def test_conditions(name: str):
    condition, expected = CHOICES[name]
    chosen: set[str] = set()
    others: set[str] = set()
    rules = composite(name, [(condition, noting(chosen)), (always, noting(others))])
    net, x = Net().eval(), torch.randn(2, 3, 6, 6).requires_grad_()
    tape, y = recorded(rules.by_kind, net, x)
    tape.pull(y[:, 0].sum(), [x], rules)
    assert chosen == expected
    assert others == set(DEPTHS) - expected


def test_the_first_condition_that_holds_decides():
    first: set[str] = set()
    second: set[str] = set()
    rules = composite("", [(reads_picture, noting(first)), (is_convolution, noting(second))])
    net, x = Net().eval(), torch.randn(2, 3, 6, 6).requires_grad_()
    tape, y = recorded(rules.by_kind, net, x)
    tape.pull(y[:, 0].sum(), [x], rules)
    assert first == {"stem.0", "beside"} and second == {"body.a", "body.b", "up"}


def test_without_any_choice_it_is_the_gradient():
    """Of a network without norms and gates, which have rules of their own."""
    net, x = NETWORKS["hidden_layer"].build(), torch.randn(2, 3, 24, 24).requires_grad_()
    rules = composite("nothing", [])
    tape, y = recorded(rules.by_kind, net, x)
    (pulled,) = tape.pull(y[:, 0].sum(), [x], rules)
    (gradient,) = torch.autograd.grad(net(x)[:, 0].sum(), x)
    torch.testing.assert_close(pulled, gradient)


def test_depth_and_names_do_not_depend_on_how_the_network_is_written():
    """A weight that is used in a function belongs to the module that owns it."""

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.outer = nn.ModuleDict({"inner": nn.Conv2d(3, CLASSES, 3)})

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.outer["inner"].weight).mean((2, 3))

    found: list[Linear] = []

    def note(op: Linear, cotangent: Tensor) -> Tensor:
        found.append(op)
        return op.transposed(cotangent)

    rules = composite("", [(always, for_linear(note))])
    net, x = Functional(), torch.randn(2, 3, 6, 6).requires_grad_()
    tape, y = recorded(rules.by_kind, net, x)
    tape.pull(y.sum(), [x], rules)
    (op,) = found
    assert (op.layer, op.depth, op.type, op.reads_picture) == (
        "outer.inner", 1, "convolution", True,
    )  # fmt: skip


def test_equal_parameters_give_the_same_rule_set():
    """Readings of a panel are shared by it."""
    for make in (
        composites.epsilon_everywhere,
        composites.epsilon_plus,
        composites.epsilon_plus_flat,
        composites.epsilon_alpha2_beta1,
        composites.epsilon_alpha2_beta1_flat,
    ):
        assert make(0.5) is make(0.5) is not make(0.25)
    box = composites.epsilon_gamma_box
    assert box(0.5, 1e-6) is box(0.5, 1e-6) is not box(0.25, 1e-6)


# One's own


@pytest.fixture
def own_composites() -> Iterator[None]:
    before = dict(composites.COMPOSITES)
    yield
    composites.COMPOSITES.clear()
    composites.COMPOSITES.update(before)


def example(module: object) -> str:
    """The indented lines at the end of a module's documentation."""
    found = re.search(r"^    from seewhy.*", module.__doc__ or "", re.MULTILINE | re.DOTALL)
    assert found
    return dedent(found.group())


def test_the_example_of_the_documentation_runs(own_composites: None):
    case = NETWORKS["residual"]
    exec(example(lrp).replace('"dog.jpg"', "pixels"),
         {"seewhy": seewhy, "model": case.model(), "pixels": case.pixels()})  # fmt: skip
    e = seewhy.explain(case.model(), case.pixels(), "lrp", composite="mine")
    assert bool(e.heatmap.any()) and e.residual is not None
    plain = seewhy.explain(case.model(), case.pixels(), "lrp-epsilon", epsilon=0.01)
    assert not torch.allclose(e.heatmap, plain.heatmap)


def test_a_rule_and_a_composite_of_ones_own(own_composites: None):
    """Relevance in proportion to |w x|: no library has it, and it takes three lines."""

    def by_size(op: Linear, cotangent: Tensor) -> Tensor:
        total, transposed = op.with_weights(op.weight.abs(), input=op.input.abs())
        return op.input.sign() * transposed(op.z * cotangent / stabilised(total, 1e-9))

    seewhy.add_composite("by size", composite("by size", [(always, for_linear(by_size))]))
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, CLASSES)).double()
    pixels = torch.rand(1, 3, 4, 4).double()
    model = as_model(net)
    e = seewhy.explain(model, pixels, "lrp", 2, composite="by size")
    x = ((pixels.float().double() - model.mean) / model.std).flatten()
    sizes = (net[1].weight[2].detach() * x).abs()
    expected = (sizes / sizes.sum()).view(1, 3, 4, 4) * e.score[0].double()
    torch.testing.assert_close(e.attribution.double(), expected, rtol=1e-5, atol=1e-7)
    assert e.residual is not None and float(e.residual) < 1e-5


def test_a_composite_of_ones_own_has_its_own_hyperparameters(own_composites: None):
    def half(gamma: float = 0.5) -> Rules:
        return composite("half", [(always, linear_rules.gamma(gamma))])

    seewhy.add_composite("half", half)
    case = NETWORKS["batch_norm"]
    model, pixels = case.model(), case.pixels()
    found = [
        seewhy.explain(model, pixels, "lrp", 1, composite="half", **given).attribution
        for given in ({}, {"gamma": 0.5}, {"gamma": 0.1})
    ]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    with pytest.raises(
        SeewhyError, match="the composite half has no parameter epsilon; it has gam"
    ):
        seewhy.explain(model, pixels, "lrp", composite="half", epsilon=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"composite": "nonsense"}, "unknown composite 'nonsense'"),
        ({"gamma": 0.1}, "epsilon-plus has no parameter gamma; it has epsilon"),
        ({"composite": "epsilon-gamma-box", "gamma": -1.0}, "must not be negative"),
        ({"epsilon": 0.0}, "above 0"),
    ],
)
def test_what_a_composite_does_not_have_is_refused(options: dict, words: str):
    with pytest.raises(SeewhyError, match=words):
        seewhy.explain(NETWORKS["batch_norm"].model(), torch.rand(1, 3, 24, 24), "lrp", **options)


@pytest.mark.parametrize("name", sorted(composites.COMPOSITES))
def test_a_named_method_is_lrp_with_that_composite(name: str):
    case = NETWORKS["batch_norm"]
    one = seewhy.explain(case.model(), case.pixels(), f"lrp-{name}", 1)
    other = seewhy.explain(case.model(), case.pixels(), "lrp", 1, composite=name)
    assert torch.equal(one.attribution, other.attribution)


def test_sweeps_have_the_named_methods_only():
    names = [method.name for method in parse_methods("all")]
    assert "lrp" not in names and "lrp-epsilon" in names


def test_a_mixture_differs_from_its_parts():
    case = NETWORKS["batch_norm"]
    net, x = case.build().double(), case.pixels().double().requires_grad_()
    everywhere = {rule: composite("", [(always, rule)]) for rule in (epsilon(), gamma(0.5))}
    mixed = composite("", [(at_depth(1, 1), gamma(0.5)), (always, epsilon())])
    both = composite("", [(at_depth(1, 99), gamma(0.5)), (always, epsilon())])
    tape, y = recorded(mixed.by_kind, net, x)
    small, large, between, alike = (
        tape.pull(y[:, 0].sum(), [x], rules)[0] for rules in (*everywhere.values(), mixed, both)
    )
    torch.testing.assert_close(alike, large, rtol=0, atol=0)
    for other in (small, large):
        assert (between - other).norm() > 0.1 * other.norm()
