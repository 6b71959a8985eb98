"""The rescale rule of every operation: exact finite differences, which become derivatives."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.rules.rescale import RESCALE, beside
from seewhy.autodiff.tape import Logged, Tape
from seewhy.errors import NotApplicable

Function = Callable[..., Tensor]


def recorded(function: Function, inputs: Sequence[Tensor]) -> tuple[Tape, Tensor, dict]:
    log: dict[str, list[Logged]] = {kind: [] for kind in RESCALE.by_kind}
    tape = Tape(RESCALE.by_kind, log=log, reads_input=RESCALE.reads_input)
    with tape:
        output = function(*inputs)
    return tape, output, {(op.kind, op.number): op for ops in log.values() for op, _ in ops}


def multipliers(
    function: Function, xs: Sequence[Tensor], x0s: Sequence[Tensor], g: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """What `g` becomes at each input, and what the output rose."""
    xs, x0s = ([t.clone().requires_grad_() for t in inputs] for inputs in (xs, x0s))
    tape, y, _ = recorded(function, xs)
    _, y0, reference = recorded(function, x0s)
    assert reference, "nothing was watched"
    ledger = Ledger(reference=reference)
    return tape.pull((y * g).sum(), xs, RESCALE, ledger), (y - y0).detach()  # type: ignore[return-value]


@dataclass(frozen=True)
class Case:
    """`positive`: inputs of the last operand stay above zero."""

    function: Function
    shapes: tuple[tuple[int, ...], ...] = ((2, 3, 4),)
    positive: bool = False

    def drawn(self, seed: int, spread: float = 1.5) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        drawn = [
            spread * torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in self.shapes
        ]
        if self.positive:
            drawn[-1] = drawn[-1].abs() + 0.2
        return drawn


WEIGHT = torch.tensor([0.7, -1.2, 2.0, 0.4], dtype=torch.float64)
PER_CHANNEL = WEIGHT[:3]
MASK = torch.zeros(4, 4, dtype=torch.float64).masked_fill(
    torch.ones(4, 4, dtype=torch.bool).triu(1), -math.inf
)
MAPS = ((2, 3, 7, 6),)

CASES = {
    "relu": Case(F.relu),
    "relu in place": Case(lambda x: F.relu(x * 1.0, inplace=True)),
    "relu6": Case(lambda x: F.relu6(4 * x)),
    "hardtanh": Case(F.hardtanh),
    "clamp between": Case(lambda x: x.clamp(-0.3, 0.8)),
    "clamp above": Case(lambda x: x.clamp_min(0.2)),
    "clamp below": Case(lambda x: x.clamp(max=0.2)),
    "leaky relu": Case(lambda x: F.leaky_relu(x, 0.1)),
    "prelu": Case(lambda x: F.prelu(x, PER_CHANNEL)),
    "threshold": Case(lambda x: F.threshold(x, 0.1, -2.0)),
    "elu": Case(F.elu),
    "selu": Case(F.selu),
    "celu": Case(F.celu),
    "gelu": Case(F.gelu),
    "gelu by tanh": Case(lambda x: F.gelu(x, approximate="tanh")),
    "silu": Case(F.silu),
    "mish": Case(F.mish),
    "softplus": Case(F.softplus),
    "hardswish": Case(lambda x: F.hardswish(3 * x)),
    "hardsigmoid": Case(lambda x: F.hardsigmoid(3 * x)),
    "sigmoid": Case(torch.sigmoid),
    "logsigmoid": Case(F.logsigmoid),
    "tanh": Case(torch.tanh),
    "softsign": Case(F.softsign),
    "shrink": Case(F.softshrink),
    "abs": Case(torch.abs),
    "exp": Case(torch.exp),
    "exp in place": Case(lambda x: (x * 1.0).exp_()),
    "square": Case(lambda x: x**2),
    "cube": Case(lambda x: x.pow(3)),
    "two to the power": Case(lambda x: 2**x),
    "logarithm": Case(torch.log, positive=True),
    "root": Case(lambda x: x.sqrt(), positive=True),
    "rsqrt": Case(torch.rsqrt, positive=True),
    "reciprocal": Case(lambda x: 1 / x, positive=True),
    "constant over x": Case(lambda x: WEIGHT / x, ((2, 3, 1),), positive=True),
    "max with a constant": Case(lambda x: torch.maximum(x, WEIGHT)),
    "max pool": Case(lambda x: F.max_pool2d(x, 2), MAPS),
    "max pool, overlapping": Case(lambda x: F.max_pool2d(x, 3, 1, padding=1), MAPS),
    "max pool, padded": Case(
        lambda x: F.max_pool2d(F.pad(x, (0, 1, 1, 1), value=-math.inf), 3, 2), MAPS
    ),
    "max pool, dilated": Case(lambda x: F.max_pool2d(x, 2, 2, dilation=2, ceil_mode=True), MAPS),
    "max pool, adaptive": Case(lambda x: F.adaptive_max_pool2d(x, (4, 4)), MAPS),
    "max pool of vectors": Case(lambda x: F.max_pool1d(x, 3, 2), ((2, 3, 9),)),
    "max pool of volumes": Case(lambda x: F.max_pool3d(x, 2, 1), ((2, 2, 3, 4, 3),)),
    "max over an axis": Case(lambda x: x.max(1)[0], MAPS),
    "min over an axis": Case(lambda x: torch.min(x, dim=2, keepdim=True).values, MAPS),
    "max over axes": Case(lambda x: x.amax((2, 3)), MAPS),
    "min over axes": Case(lambda x: x.amin((2, 3)), MAPS),
    "max of two": Case(torch.max, ((2, 3, 4), (2, 3, 4))),
    "min of two": Case(torch.minimum, ((2, 3, 4), (3, 4))),
    "product": Case(torch.mul, ((2, 3, 4), (2, 3, 4))),
    "product in place": Case(lambda x, y: (x * 1.0).mul_(y), ((2, 3, 4), (2, 3, 4))),
    "product with a gate": Case(torch.mul, ((2, 3, 4, 4), (2, 3, 1, 1))),
    "product with itself": Case(lambda x: x * x),
    "matrix product": Case(torch.matmul, ((2, 3, 4), (2, 4, 5))),
    "matrix product, broadcast": Case(torch.matmul, ((2, 3, 2, 4), (3, 4, 5))),
    "bmm": Case(torch.bmm, ((2, 3, 4), (2, 4, 5))),
    "baddbmm": Case(
        lambda x, y: torch.baddbmm(torch.empty(1, 3, 5, dtype=x.dtype), x, y, beta=0, alpha=0.5),
        ((2, 3, 4), (2, 4, 5)),
    ),
    "einsum": Case(lambda x, y: torch.einsum("bij,bkj->bik", x, y), ((2, 3, 4), (2, 5, 4))),
    "glu": Case(lambda x: F.glu(x, -1)),
    "quotient": Case(torch.div, ((2, 3, 4), (2, 3, 1)), positive=True),
    "quotient by a vector": Case(torch.div, ((2, 3, 4), (4,)), positive=True),
    "softmax": Case(lambda x: F.softmax(3 * x, -1)),
    "softmax over channels": Case(lambda x: x.softmax(1), MAPS),
    "softmax with a mask": Case(lambda x: (x + MASK).softmax(-1), ((2, 4, 4),)),
    "log softmax": Case(lambda x: F.log_softmax(x, -1)),
    "layer norm": Case(lambda x: F.layer_norm(x, (4,), WEIGHT, WEIGHT)),
    "layer norm over two axes": Case(lambda x: F.layer_norm(x, (3, 4))),
    "rms norm": Case(lambda x: F.rms_norm(x, (4,), WEIGHT)),
    "group norm": Case(lambda x: F.group_norm(x, 2, WEIGHT, WEIGHT), ((2, 4, 3, 3),)),
    "instance norm": Case(
        lambda x: F.instance_norm(x, weight=PER_CHANNEL, bias=PER_CHANNEL), ((2, 3, 4, 4),)
    ),
    "length of vectors": Case(lambda x: x.norm(dim=-1, keepdim=True)),
    "length": Case(lambda x: torch.linalg.vector_norm(x, dim=(1, 2))),
    "unit vectors": Case(lambda x: F.normalize(x, dim=-1)),
    "variance": Case(lambda x: x.var(-1)),
    "standard deviation": Case(lambda x: torch.std(x, (1, 2), unbiased=False)),
    "local response norm": Case(lambda x: F.local_response_norm(x, 2), MAPS),
    "attention": Case(F.scaled_dot_product_attention, ((2, 3, 4), (2, 5, 4), (2, 5, 6))),
}

each_case = pytest.mark.parametrize("name", CASES)


@each_case
@given(seed=st.integers(0, 2**31), together=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=4, deadline=None)
def test_nothing_is_lost(name: str, seed: int, together: float):
    """The rise is the sum of multiplier times difference; some inputs do not change at all."""
    case = CASES[name]
    xs, x0s = case.drawn(seed), case.drawn(seed + 1)
    generator = torch.Generator().manual_seed(seed + 2)
    for x, x0 in zip(xs, x0s, strict=True):
        same = torch.rand(x.shape, generator=generator) < together
        x0[same] = x[same]
    y = case.function(*xs)
    g = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    ms, rise = multipliers(case.function, xs, x0s, g)
    shares = [m * (x - x0) for m, x, x0 in zip(ms, xs, x0s, strict=True)]
    size = sum(float(share.abs().sum()) for share in shares) + 1
    assert all(bool(m.isfinite().all()) for m in ms)
    assert float(sum(share.sum() for share in shares)) == pytest.approx(
        float((rise * g).sum()), abs=1e-9 * size
    )
    if together < 1:
        assert bool(rise.any())


@each_case
def test_near_the_reference_it_is_the_gradient(name: str):
    case = CASES[name]
    for step in (0.0, 1e-12, 1e-6):
        xs = [x.requires_grad_() for x in case.drawn(5)]
        x0s = [(x + step * d).detach() for x, d in zip(xs, case.drawn(6), strict=True)]
        y = case.function(*xs)
        g = torch.randn(y.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        expected = torch.autograd.grad((y * g).sum(), xs)
        ms, _ = multipliers(case.function, xs, x0s, g)
        for m, gradient in zip(ms, expected, strict=True):
            torch.testing.assert_close(m, gradient, rtol=1e-4, atol=1e-4)
            assert bool(gradient.any())


IN_BATCHES = [n for n, case in CASES.items() if all(shape[0] == 2 for shape in case.shapes)]


@pytest.mark.parametrize("name", IN_BATCHES)
def test_one_reference_for_a_batch(name: str):
    """It is repeated for each picture."""
    case = CASES[name]
    xs, one = case.drawn(1), [x0[:1] for x0 in case.drawn(2)]
    g = torch.ones_like(case.function(*xs))
    alone, rise = multipliers(case.function, xs, one, g)
    both, same_rise = multipliers(case.function, xs, [x0.repeat_interleave(2, 0) for x0 in one], g)
    torch.testing.assert_close(rise, same_rise)
    for m, expected in zip(alone, both, strict=True):
        torch.testing.assert_close(m, expected)


def test_one_reference_where_windows_lie_in_the_batch():
    reference, pictures = torch.arange(6.0).view(3, 2), torch.zeros(12, 2)
    for picture in beside(reference, pictures).view(4, 3, 2):
        assert torch.equal(picture, reference)
    tokens_first = beside(torch.arange(6.0).view(3, 1, 2), torch.zeros(3, 4, 2))
    assert torch.equal(tokens_first[:, 2], reference)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 2), (3, 2), (12,)])
def test_shapes_that_cannot_be_compared_are_refused(shape: tuple[int, ...]):
    with pytest.raises(NotApplicable, match="different operations"):
        beside(torch.zeros(2, 2), torch.zeros(shape))


# Against their formulas, number by number


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_input(function: Function, x: Tensor, x0: Tensor, g: Tensor) -> Tensor:
    return multipliers(function, [x], [x0], g)[0][0]


FORMULAS = {
    "relu": (F.relu, lambda v: max(v, 0.0)),
    "tanh": (torch.tanh, math.tanh),
    "sigmoid": (torch.sigmoid, lambda v: 1 / (1 + math.exp(-v))),
    "gelu": (F.gelu, lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2),
    "relu6": (F.relu6, lambda v: min(max(v, 0.0), 6.0)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_elementwise(name: str):
    function, scalar = FORMULAS[name]
    x, x0, g = (3 * numbers(40, seed=s) for s in (1, 2, 3))
    expected = [
        c * (scalar(a) - scalar(b)) / (a - b)
        for a, b, c in zip(x.tolist(), x0.tolist(), g.tolist(), strict=True)
    ]
    pulled = one_input(function, x, x0, g)
    torch.testing.assert_close(pulled, torch.tensor(expected, dtype=torch.float64))


def test_maximum_pools_in_two_steps():
    """Windows of 3 with a stride of 2, which overlap; some references are flat there."""
    x, x0, g = numbers(1, 1, 31, seed=1), numbers(1, 1, 31, seed=2), numbers(1, 1, 15, seed=3)
    x0[..., 8:17] = 0.4
    expected = torch.zeros(31, dtype=torch.float64)
    a, b = x.flatten().tolist(), x0.flatten().tolist()
    risen = flat = 0
    for window, cotangent in enumerate(g.flatten().tolist()):
        places = range(2 * window, 2 * window + 3)
        now, before = max(places, key=a.__getitem__), max(places, key=b.__getitem__)
        rise = a[now] - b[before]
        flat += b[now] == b[before] and now != before
        to = now if rise > 0 or b[now] == b[before] else before
        risen += rise > 0
        expected[to] += cotangent * rise / (a[to] - b[to])
    assert flat >= 2 and 3 < risen < 12
    pulled = one_input(lambda x: F.max_pool1d(x, 3, 2), x, x0, g)
    torch.testing.assert_close(pulled.flatten(), expected)


def test_products_meet_half_way():
    a, b, a0, b0 = (numbers(3, 4, seed=s) for s in range(4))
    g = numbers(3, 4, seed=4)
    (of_a, of_b), _ = multipliers(torch.mul, [a, b], [a0, b0], g)
    torch.testing.assert_close(of_a, g * (b + b0) / 2)
    torch.testing.assert_close(of_b, g * (a + a0) / 2)
    g = numbers(3, 3, seed=5)
    (of_a, of_b), _ = multipliers(lambda a, b: a @ b.mT, [a, b], [a0, b0], g)
    torch.testing.assert_close(of_a, g @ (b + b0) / 2)
    torch.testing.assert_close(of_b, g.mT @ (a + a0) / 2)


def test_quotients():
    a, b, a0, b0, g = (numbers(3, 4, seed=s) for s in range(5))
    (of_a, of_b), _ = multipliers(torch.div, [a, b], [a0, b0], g)
    half_way = g * (1 / b + 1 / b0) / 2, g * (a + a0) / 2 * (1 / b - 1 / b0) / (b - b0)
    solved = g * 2 / (b + b0), -g * (a / b + a0 / b0) / (b + b0)
    same = b.sign() == b0.sign()
    assert 3 < int(same.sum()) < 9
    torch.testing.assert_close(of_a, torch.where(same, solved[0], half_way[0]))
    torch.testing.assert_close(of_b, torch.where(same, solved[1], half_way[1]))


def test_softmax():
    """A matrix of slopes: k_i [i = j] - k_i k_j / sum of k."""
    x, x0, g = (2 * numbers(5, seed=s) for s in (1, 2, 3))
    sums = [sum(math.exp(v) for v in t.tolist()) for t in (x, x0)]
    k = []
    for a, b in zip(x.tolist(), x0.tolist(), strict=True):
        y, y0 = math.exp(a) / sums[0], math.exp(b) / sums[1]
        k.append((y - y0) / (math.log(y) - math.log(y0)))
    expected = [
        sum(g[i] * (k[i] * (i == j) - k[i] * k[j] / sum(k)) for i in range(5)) for j in range(5)
    ]
    pulled = one_input(lambda x: x.softmax(0), x, x0, g)
    torch.testing.assert_close(pulled, torch.stack(expected))
    torch.testing.assert_close(pulled.sum(), torch.zeros(()).double())  # a common shift is nothing


def test_softmax_of_far_apart_scores():
    """Where exponentials would overflow, and masked on both sides."""
    x = torch.tensor([900.0, 0.0, -800.0, -math.inf])
    x0 = torch.tensor([-500.0, 700.0, 0.0, -math.inf])
    g = torch.tensor([1.0, -2.0, 3.0, 5.0])
    pulled = one_input(lambda x: x.softmax(0), x, x0, g)
    assert bool(pulled.isfinite().all()) and pulled[3] == 0
    rise = float((pulled[:3] * (x - x0)[:3]).sum())
    assert rise == pytest.approx(1.0 + 2.0)


@pytest.mark.parametrize("centred", [True, False])
def test_norms(centred: bool):
    n, eps = 4, 0.01
    x, x0, g = (numbers(n, seed=s) for s in (1, 2, 3))
    c, c0 = (t - t.mean() * centred for t in (x, x0))
    std, std0 = (math.sqrt(float(t.square().mean()) + eps) for t in (c, c0))
    expected = torch.zeros(n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            of_centred = (i == j) - centred / n
            of_std = float(c[i] + c0[i]) / n / (std + std0)
            y_half_way = float(c[j] / std + c0[j] / std0) / 2
            slope = (of_centred - y_half_way * of_std) / ((std + std0) / 2)
            expected[i] += float(g[j] * WEIGHT[j]) * slope
    function = F.layer_norm if centred else F.rms_norm
    pulled = one_input(lambda x: function(x, (n,), WEIGHT, eps=eps), x, x0, g)
    torch.testing.assert_close(pulled, expected)


@pytest.mark.parametrize("norm", [F.layer_norm, F.rms_norm, lambda x, n: F.normalize(x, dim=0)])
def test_a_flat_reference_does_not_make_multipliers_huge(norm: Function):
    """Its standard deviation is next to nothing, and the multipliers go by the mean of the two."""
    x, x0, g = numbers(4, seed=1), 1e-9 * numbers(4, seed=2), numbers(4, seed=3)
    pulled = one_input(lambda x: norm(x, (4,)), x, x0, g)
    assert float(pulled.abs().max()) < 10


def test_operations_of_another_forward_are_needed():
    x = torch.ones(3, requires_grad=True)
    tape, y, _ = recorded(torch.tanh, [x])
    with pytest.raises(NotApplicable, match="different operations"):
        tape.pull(y.sum(), [x], RESCALE)
