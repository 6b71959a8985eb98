from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks import NETWORKS
from seewhy.autodiff.operations import RECTIFIER_KINDS
from seewhy.autodiff.rules import DECONVNET, GRADIENT, GUIDED, Rules
from seewhy.autodiff.tape import Tape
from seewhy.models.session import borrowed


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def pulled(function: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor, rules: Rules):
    tape = Tape(RECTIFIER_KINDS)
    with tape:
        y = function(x)
    (gradient,) = tape.pull((y * weights).sum(), [x], rules)
    return y, gradient, tape


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "densenet121"])
def test_logits_and_gradient_are_bit_equal_to_the_untouched_networks(name: str):
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = getattr(torchvision.models, name)(num_classes=10).eval()
        x = torch.rand(2, 3, 64, 64, requires_grad=True)
    with borrowed(net):
        plain = net(x)
        (gradient,) = torch.autograd.grad(plain[:, 3].sum(), x)
        tape = Tape(RECTIFIER_KINDS)
        with tape:
            logits = net(x)
        assert torch.equal(logits, plain)
        assert tape.seen["relu"] == {"resnet18": 17, "squeezenet1_1": 26, "densenet121": 121}[name]
        (guided,) = tape.pull(logits[:, 3].sum(), [x], GUIDED)
        (ours,) = tape.pull(logits[:, 3].sum(), [x])
        assert torch.equal(ours, gradient)
        assert not torch.equal(guided, gradient)


@pytest.mark.parametrize("network", NETWORKS)
def test_small_networks_are_bit_equal_too(network: str):
    case = NETWORKS[network]
    net = case.build()
    dtype = next(net.parameters()).dtype
    model, x = case.model(), case.pixels().to(dtype).requires_grad_()
    with borrowed(model.net):
        plain = model.forward(x)
        tape = Tape(RECTIFIER_KINDS)
        with tape:
            taped = model.forward(x)
        assert torch.equal(taped, plain)
        (expected,) = torch.autograd.grad(plain[:, 0].sum(), x)
        (ours,) = tape.pull(taped[:, 0].sum(), [x])
        assert torch.equal(ours, expected)


def test_several_pulls_from_one_forward():
    x = leaf(-1.0, 2.0, 3.0)
    weights = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    tape = Tape(RECTIFIER_KINDS)
    with tape:
        y = (F.relu(x) * weights).sum()
    expected = {GRADIENT: [0, -1, 1], DECONVNET: [1, 0, 1], GUIDED: [0, 0, 1]}
    for _ in range(2):
        for rules, values in expected.items():
            (gradient,) = tape.pull(y, [x], rules)
            assert gradient.tolist() == values, rules.name


RECTIFIERS = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "keyword": lambda x: F.relu(input=x),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu6": F.relu6,
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
    "hardtanh_": lambda x: F.hardtanh_(x, 0.0, 6.0),
    "hardtanh in place": lambda x: F.hardtanh(x, min_val=0, max_val=6, inplace=True),
    "clamp": lambda x: torch.clamp(x, min=0),
    "clamp both": lambda x: x.clamp(0, 6),
    "clamp_": lambda x: x.clamp_(min=0.0),
    "torch.clamp_": lambda x: torch.clamp_(x, min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "torch.clamp_min_": lambda x: torch.clamp_min_(x, 0),
    "torch.clamp_min": lambda x: torch.clamp_min(x, 0),
    "clip": lambda x: torch.clip(x, min=0),
    "Tensor.clip": lambda x: x.clip(min=0),
    "Tensor.clip_": lambda x: x.clip_(min=0),
}


@pytest.mark.parametrize("name", RECTIFIERS)
def test_every_way_to_write_a_rectifier(name: str):
    rectify = RECTIFIERS[name]
    weights = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    for rules, expected in (
        (GRADIENT, [0, 0, 1, -1]),
        (DECONVNET, [1, 0, 1, 0]),
        (GUIDED, [0, 0, 1, 0]),
    ):
        x = leaf(-1.0, -2.0, 3.0, 4.0)
        y, gradient, tape = pulled(lambda x: rectify(x * 1.0), x, weights, rules)
        assert y.tolist() == [0, 0, 3, 4]
        assert gradient.tolist() == expected, rules.name
        assert tape.seen.total() == 1 and set(tape.seen) <= RECTIFIER_KINDS


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.clamp(x, min=1),
        lambda x: torch.clamp(x, max=0),
        lambda x: x.clamp(-1, 1),
        F.hardtanh,
        lambda x: x.clamp_min(0.5),
        F.leaky_relu,
        F.gelu,
        F.silu,
        torch.sigmoid,
    ],
)
def test_other_functions_are_no_rectifiers(function: Callable):
    x = leaf(-2.0, 0.3, 2.0)
    weights = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    _, guided, tape = pulled(lambda x: function(x * 1.0), x, weights, GUIDED)
    assert not tape.seen
    (plain,) = torch.autograd.grad((function(x * 1.0) * weights).sum(), x)
    assert torch.equal(guided, plain)


def test_values_above_the_ceiling_of_relu6_pass_nothing_when_guided():
    x = leaf(-1.0, 3.0, 7.0)
    _, gradient, _ = pulled(F.relu6, x, torch.ones(3), GUIDED)
    assert gradient.tolist() == [0, 1, 0]


# Aliases

ALIASES = {
    "result ignored": lambda x: (x.relu_(), x * 2)[1],
    "both used": lambda x: x.relu_() + 2 * x,
    "a view": lambda x: (x[1:].relu_(), x * 2)[1],
    "a reshaped view": lambda x: (x.view(2, 2).relu_(), x + 1)[1],
    "the base of a view": lambda x: (lambda v: (x.relu_(), v * 3)[1])(x[:2]),
    "twice": lambda x: (x.relu_() - 1).relu_(),
    "added in place before": lambda x: x.add_(1).relu_() * x,
    "transposed": lambda x: (x.view(2, 2).t().relu_() * 3, x)[1],
}


@pytest.mark.parametrize("name", ALIASES)
def test_in_place_rectifiers_keep_every_alias_right(name: str):
    function = ALIASES[name]

    def run(x: Tensor) -> Tensor:
        return function(x * 1.0).flatten().pow(2).sum()

    x = leaf(-1.5, 0.5, 2.0, -0.25)
    plain = run(x)
    (expected,) = torch.autograd.grad(plain, x)
    y, gradient, tape = pulled(run, x, torch.ones(()), GRADIENT)
    assert torch.equal(y, plain) and torch.equal(gradient, expected)
    assert tape.seen["relu"] >= 1
    assert bool(expected.any())


def test_guided_through_an_alias():
    """y = relu(x) is used by way of x itself."""
    x, weights = leaf(-1.0, 2.0, 3.0), torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)

    def run(x: Tensor) -> Tensor:
        z = x * 1.0
        z.relu_()
        return z

    assert pulled(run, x, weights, GUIDED)[1].tolist() == [0, 0, 1]


# What a tape leaves alone


def test_kinds_that_were_not_asked_for_are_not_recorded():
    tape = Tape(set())
    with tape:
        y = F.relu(leaf(1.0))
    assert not tape.seen and "ReluBackward" in type(y.grad_fn).__name__


def test_what_does_not_depend_on_the_picture_is_not_counted():
    x, tape = leaf(-1.0, 1.0), Tape(RECTIFIER_KINDS)
    with tape:
        with torch.no_grad():
            assert F.relu(x).tolist() == [0, 1]
        y = F.relu(x.detach())
    assert tape.seen["relu"] == 0 and not y.requires_grad


def test_after_the_block_nothing_is_watched():
    tape = Tape(RECTIFIER_KINDS)
    with tape:
        F.relu(leaf(1.0))
    F.relu(leaf(1.0))
    assert tape.seen["relu"] == 1


def test_an_unused_source_gets_none():
    x, unused = leaf(1.0, 2.0), leaf(1.0)
    tape = Tape(RECTIFIER_KINDS)
    with tape:
        y = F.relu(x).sum()
    used, none = tape.pull(y, [x, unused], GUIDED)
    assert used is not None and used.tolist() == [1, 1]
    assert none is None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_rules_are_reset_after_an_exception(error: type[BaseException]):
    def fail(operation, cotangent):
        raise error("in the rule")

    x, tape = leaf(-1.0, 2.0), Tape(RECTIFIER_KINDS)
    with tape:
        y = F.relu(x).sum()
    with pytest.raises(error, match="in the rule"):
        tape.pull(y, [x], Rules("failing", {"relu": fail}))
    assert tape.rules is GRADIENT
    assert tape.pull(y, [x])[0].tolist() == [0, 1]


def test_a_tape_stops_watching_after_an_exception():
    tape = Tape(RECTIFIER_KINDS)
    with pytest.raises(ValueError, match="no"), tape:
        raise ValueError("no")
    F.relu(leaf(1.0))
    assert not tape.seen
