"""Every linear rule against explicit sums, over every kind of linear operation, in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import reference
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.rules import Rules, linear
from seewhy.autodiff.rules.composites import always, composite
from seewhy.autodiff.tape import Tape

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")

EPSILON = 1e-3  # large enough to be seen
LOW, HIGH = -1.5, 2.0

# name -> (our rule, the reference's function, its further arguments)
RULES = {
    "epsilon": (linear.epsilon(EPSILON), reference.epsilon, ()),
    "gamma": (linear.gamma(0.3, EPSILON), reference.gamma, (0.3,)),
    "z-plus": (linear.z_plus(EPSILON), reference.z_plus, ()),
    "alpha2-beta1": (linear.alpha_beta(2, 1, EPSILON), reference.alpha_beta, (2, 1)),
    "alpha1-beta0": (linear.alpha_beta(1, 0, EPSILON), reference.alpha_beta, (1, 0)),
    "w-square": (linear.w_square(EPSILON), reference.w_square, ()),
    "flat": (linear.flat(EPSILON), reference.flat, ()),
    "z-box": (linear.z_box(LOW, HIGH, EPSILON), reference.z_box, (LOW, HIGH)),
}
IGNORE_THE_INPUT = {"w-square", "flat", "z-box"}
KEEP_THE_SUM = set(RULES) - IGNORE_THE_INPUT
each_rule = pytest.mark.parametrize("name", RULES)


@dataclass
class Case:
    """An affine function of [2, ...] with its input."""

    text: str
    function: Callable[[Tensor], Tensor]
    x: Tensor

    def __repr__(self) -> str:
        return self.text


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def inputs_like(draw: st.DrawFn, x: Tensor) -> Tensor:
    sign = draw(st.sampled_from(["mixed", "non-negative", "with zeros", "rectified"]))
    if sign in ("non-negative", "rectified"):
        x = x.abs() if sign == "non-negative" else x.clamp(min=0)
    return torch.where(x.abs() < 0.4, 0, x) if sign == "with zeros" else x


def with_batch_norm(function: Callable, channels: int, generator: torch.Generator) -> Callable:
    mean, scale, shift = (normal(channels, generator=generator) for _ in range(3))
    var = normal(channels, generator=generator).square() + 0.1
    return lambda x: F.batch_norm(function(x), mean, var, scale, shift)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """Any rank, groups, dilation, stride and padding; plain or transposed, perhaps normalised."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    rank, across = draw(st.integers(1, 3)), draw(st.booleans())
    groups = draw(st.integers(1, 3))
    inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2))  # of each group
    largest = {1: 3, 2: 3, 3: 2}[rank]
    sides = st.tuples(*[st.integers(1, largest)] * rank)
    kernel, stride, dilation = draw(sides), draw(sides), draw(sides)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [r + draw(st.integers(0, 2)) for r in reach]
    padding = draw(st.tuples(*[st.integers(0, 1)] * rank))
    bias = normal(groups * outputs, generator=generator) if draw(st.booleans()) else None
    more = {"bias": bias, "stride": stride, "dilation": dilation, "groups": groups}
    if across:
        padding = [min(p, r - 1) for p, r in zip(padding, reach, strict=True)]
        beyond = [
            draw(st.integers(0, max(step) - 1)) for step in zip(stride, dilation, strict=True)
        ]
        more |= {"padding": padding, "output_padding": beyond}
        weight = normal(groups * inputs, outputs, *kernel, generator=generator)
        convolve = getattr(F, f"conv_transpose{rank}d")
    else:
        same = draw(st.booleans())  # pads even kernels on one side more
        more |= {"padding": "same", "stride": 1} if same else {"padding": padding}
        weight = normal(groups * outputs, inputs, *kernel, generator=generator)
        convolve = getattr(F, f"conv{rank}d")
    text = f"{convolve.__name__} {tuple(weight.shape)} {more}"
    function: Callable = lambda x: convolve(x, weight, **more)  # noqa: E731
    if draw(st.booleans()):
        function, text = with_batch_norm(function, groups * outputs, generator), f"{text} normed"
    x = normal(2, groups * inputs, *size, generator=generator)
    return Case(text, function, inputs_like(draw, x))


@st.composite
def dense(draw: st.DrawFn) -> Case:
    """Dense layers, also of tokens, and products with a fixed matrix."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    inputs, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    tokens = draw(st.sampled_from([(), (3,), (2, 2)]))
    weight = normal(outputs, inputs, generator=generator)
    bias = normal(outputs, generator=generator) if draw(st.booleans()) else None
    ways: dict[str, Callable] = {
        "linear": lambda x: F.linear(x, weight, bias),
        "matmul": lambda x: x @ weight.T,
    }
    if not tokens:
        ways["addmm"] = lambda x: torch.addmm(weight[:, 0], x, weight.T)
        ways["mm"] = lambda x: torch.mm(x, weight.T)
    text = draw(st.sampled_from(sorted(ways)))
    function = ways[text]
    if not tokens and draw(st.booleans()):
        function, text = with_batch_norm(function, outputs, generator), f"{text} normed"
    x = inputs_like(draw, normal(2, *tokens, inputs, generator=generator))
    return Case(f"{text} {tuple(x.shape)} -> {outputs}, bias {bias is not None}", function, x)


cases = st.one_of(convolutions(), dense())


def pulled(
    case: Case, rules: Rules, cotangent: Tensor, picture: bool = False
) -> tuple[Tensor, Tensor, Ledger]:
    """(z, R of the input, the books). `picture`: whether the input is the picture."""
    x = case.x.clone().requires_grad_()
    ledger = Ledger(pictures=2)
    tape = Tape(rules.by_kind, x if picture else None)
    with tape:
        z = case.function(x)
    assert tape.seen["linear"] == 1
    (g,) = tape.pull((z * cotangent).sum(), [x], rules, ledger)
    assert g is not None
    relevance = case.x * g
    return z.detach(), relevance if ledger.arrived is None else relevance + ledger.arrived, ledger


def cotangent_of(case: Case) -> Tensor:
    return normal(*case.function(case.x).shape, generator=torch.Generator().manual_seed(1))


def expected(name: str, case: Case, cotangent: Tensor) -> tuple[Tensor, Tensor]:
    _, share, arguments = RULES[name]
    W, b = reference.matrix(case.function, case.x)
    relevance, kept = [], []
    for x, g in zip(case.x, cotangent, strict=True):
        R = (W @ x.flatten() + b) * g.flatten()
        found, constants = share(W, b, x.flatten(), R, EPSILON, *arguments)
        relevance.append(found.view(x.shape))
        kept.append(constants)
    return torch.stack(relevance), torch.tensor(kept, dtype=torch.float64)


def assert_close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(b.abs().amax().clamp_min(1)))


def normed_product() -> Case:
    """A product has no bias of its own, and gets one by the normalisation after it."""
    generator = torch.Generator().manual_seed(0)
    weight, x = normal(4, 3, generator=generator), normal(2, 4, generator=generator).abs()
    function = with_batch_norm(lambda x: x @ weight, 3, generator)
    return Case("normed product", function, x)


@each_rule
@settings(max_examples=25, deadline=None)
@given(case=cases)
@example(case=normed_product())
def test_against_the_explicit_sums(name: str, case: Case):
    cotangent = cotangent_of(case)
    relevance, kept = expected(name, case, cotangent)
    if name in IGNORE_THE_INPUT:  # R = x * g has nothing to say at zeros; the books have
        kept = kept + torch.where(case.x == 0, relevance, 0).flatten(1).sum(1)
        relevance = torch.where(case.x == 0, 0, relevance)
    _, ours, ledger = pulled(case, composite(name, [(always, RULES[name][0])]), cotangent)
    assert_close(ours, relevance)
    found = torch.zeros(2, dtype=torch.float64) if ledger.constants is None else ledger.constants
    assert_close(found, kept)


@each_rule
@settings(max_examples=25, deadline=None)
@given(case=cases.filter(lambda case: case.x.ndim == 4))
def test_zeros_of_the_picture_get_their_share(name: str, case: Case):
    cotangent = cotangent_of(case)
    relevance, _ = expected(name, case, cotangent)
    rules = composite(name, [(always, RULES[name][0])])
    _, ours, ledger = pulled(case, rules, cotangent, picture=True)
    assert_close(ours, relevance)
    assert (ledger.arrived is not None) == (name in IGNORE_THE_INPUT)


@pytest.mark.parametrize("name", sorted(KEEP_THE_SUM))
@settings(max_examples=25, deadline=None)
@given(case=cases)
def test_what_comes_in_goes_out_or_is_kept_by_biases(name: str, case: Case):
    small = {
        "epsilon": linear.epsilon(1e-12),
        "gamma": linear.gamma(0.3, 1e-12),
        "z-plus": linear.z_plus(1e-12),
        "alpha2-beta1": linear.alpha_beta(2, 1, 1e-12),
        "alpha1-beta0": linear.alpha_beta(1, 0, 1e-12),
    }
    cotangent = cotangent_of(case)
    z, ours, ledger = pulled(case, composite(name, [(always, small[name])]), cotangent)
    kept = 0 if ledger.constants is None else ledger.constants
    into = (z * cotangent).flatten(1)
    missing = ours.flatten(1).sum(1) + kept - into.sum(1)
    assert bool((missing.abs() <= 1e-6 * into.abs().sum(1).clamp_min(1)).all())


@each_rule
def test_one_rule_on_a_known_layer(name: str):
    """Two pixels, one output, worked out by hand: w = (2, -1), x = (1, 1), b = 1, z = 2, R = 2."""
    by_hand = {
        "epsilon": [2, -1],
        "gamma": [2.6 * 2 / 2.9, -2 / 2.9],
        "z-plus": [4 / 3, 0],
        "alpha2-beta1": [8 / 3, -2],
        "alpha1-beta0": [4 / 3, 0],
        "w-square": [8 / 5, 2 / 5],
        "flat": [1, 1],
        # 2 - 2 low and -1 + 1 high, that is 5 and 1
        "z-box": [10 / 6, 2 / 6],
    }
    weight, bias = torch.tensor([[2.0, -1.0]]).double(), torch.tensor([1.0]).double()
    case = Case("", lambda x: F.linear(x, weight, bias), torch.ones(2, 2).double())
    _, ours, _ = pulled(case, composite(name, [(always, RULES[name][0])]), torch.ones(2, 1))
    torch.testing.assert_close(ours[0], torch.tensor(by_hand[name]).double(), rtol=2e-3, atol=0)
