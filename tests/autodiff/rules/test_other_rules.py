"""How relevance passes what is not linear: each kind of the table against its formula."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.rules import Rules
from seewhy.autodiff.rules.others import RELEVANCE
from seewhy.autodiff.tape import Tape

RULES = Rules("relevance", RELEVANCE)
seeds = st.integers(0, 10**6)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def passed(
    function: Callable[..., Tensor], *inputs: Tensor, cotangent: Tensor | None = None
) -> tuple[Tensor, list[Tensor], Tensor, Tape]:
    """(R of the output, R of each input, what constants kept per picture, the tape)."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    tape, ledger = Tape(RELEVANCE), Ledger(pictures=len(inputs[0]))
    with tape:
        y = function(*leaves)
    g = normal(*y.shape, seed=99) if cotangent is None else cotangent
    pulled = tape.pull((y * g).sum(), leaves, RULES, ledger)
    shares = [
        torch.zeros_like(x) if p is None else x * p for x, p in zip(inputs, pulled, strict=True)
    ]
    kept = torch.zeros(len(inputs[0])).double() if ledger.constants is None else ledger.constants
    return (y * g).detach(), shares, kept, tape


def assert_conserved(out: Tensor, shares: Sequence[Tensor], kept: Tensor) -> None:
    into = sum(share.flatten(1).sum(1) for share in shares) + kept
    torch.testing.assert_close(into, out.flatten(1).sum(1), rtol=1e-9, atol=1e-9)


# Norms: with the standard deviation held fixed they are affine


def through_a_norm(
    x: Tensor, g: Tensor, sets: Sequence[Sequence[int]], scale: Tensor, eps: float, centred: bool
) -> Tensor:
    """R_i = x_i sum_j g_j scale_j ([i = j] - 1/n) / std over each set of n numbers."""
    R = torch.zeros_like(x)
    for numbers in sets:
        values = [float(x[i]) for i in numbers]
        mean = sum(values) / len(values) if centred else 0.0
        std = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + eps)
        for i in numbers:
            for j in numbers:
                from_i = (i == j) - (1 / len(values) if centred else 0)
                R[i] += x[i] * g[j] * scale[j] * from_i / std
    return R


def test_layer_norm():
    x, weight, bias, g = normal(2, 3, 5), normal(5, seed=1), normal(5, seed=2), normal(2, 3, 5)
    sets = [range(t * 5, t * 5 + 5) for t in range(3)]
    out, (share,), kept, tape = passed(
        lambda x: F.layer_norm(x, (5,), weight, bias, 1e-2), x, cotangent=g
    )
    assert tape.seen["norm"] == 1
    for one, of, found in zip(x, g, share, strict=True):
        R = through_a_norm(one.flatten(), of.flatten(), sets, weight.repeat(3), 1e-2, True)
        torch.testing.assert_close(found.flatten(), R)
    torch.testing.assert_close(kept, (g * bias).sum((1, 2)))
    assert_conserved(out, [share], kept)


def test_rms_norm():
    x, weight, g = normal(2, 3, 5), normal(5, seed=1), normal(2, 3, 5, seed=2)
    sets = [range(t * 5, t * 5 + 5) for t in range(3)]
    out, (share,), kept, _ = passed(lambda x: F.rms_norm(x, (5,), weight, 1e-2), x, cotangent=g)
    for one, of, found in zip(x, g, share, strict=True):
        R = through_a_norm(one.flatten(), of.flatten(), sets, weight.repeat(3), 1e-2, False)
        torch.testing.assert_close(found.flatten(), R)
    torch.testing.assert_close(share, out)  # each number keeps its own relevance
    assert_conserved(out, [share], kept)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_and_instance_norm(groups: int):
    x, weight, bias, g = (
        normal(2, 4, 2, 3),
        normal(4, seed=1),
        normal(4, seed=2),
        normal(2, 4, 2, 3),
    )
    size = 4 // groups * 6
    sets = [range(s * size, (s + 1) * size) for s in range(groups)]
    ways = [lambda x: F.group_norm(x, groups, weight, bias, 1e-2)]
    if groups == 4:
        ways.append(lambda x: F.instance_norm(x, weight=weight, bias=bias, eps=1e-2))
    for way in ways:
        out, (share,), kept, _ = passed(way, x, cotangent=g)
        for one, of, found in zip(x, g, share, strict=True):
            scale = weight.repeat_interleave(6)
            R = through_a_norm(one.flatten(), of.flatten(), sets, scale, 1e-2, True)
            torch.testing.assert_close(found.flatten(), R)
        torch.testing.assert_close(kept, (g * bias.view(4, 1, 1)).sum((1, 2, 3)))
        assert_conserved(out, [share], kept)


def test_an_instance_norm_with_running_statistics_is_affine():
    x, mean, var = normal(2, 4, 3, 3), normal(4, seed=1), normal(4, seed=2).square() + 0.1
    g = normal(2, 4, 3, 3, seed=3)
    out, (share,), kept, _ = passed(
        lambda x: F.instance_norm(x, mean, var, use_input_stats=False), x, cotangent=g
    )
    std = (var + 1e-5).sqrt().view(4, 1, 1)
    torch.testing.assert_close(share, x * g / std)
    torch.testing.assert_close(kept, -(g * mean.view(4, 1, 1) / std).sum((1, 2, 3)))
    assert_conserved(out, [share], kept)


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3), (2, 4, 3, 3)])
def test_a_batch_norm_on_its_own_is_affine(shape: tuple[int, ...]):
    x, g = normal(*shape), normal(*shape, seed=3)
    mean, scale, shift = (normal(4, seed=s) for s in (4, 5, 6))
    var = normal(4, seed=7).square() + 0.1
    out, (share,), kept, _ = passed(
        lambda x: F.batch_norm(x, mean, var, scale, shift), x, cotangent=g
    )
    over = (-1, *[1] * (len(shape) - 2))
    slope = (scale / (var + 1e-5).sqrt()).view(over)
    torch.testing.assert_close(share, x * g * slope)
    constant = (shift.view(over) - mean.view(over) * slope) * g
    torch.testing.assert_close(kept, constant.flatten(1).sum(1))
    assert_conserved(out, [share], kept)


# Activations: all that the input has caused goes to it

ACTIVATIONS: dict[str, Callable] = {
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "silu in place": lambda x: F.silu(x * 1.0, inplace=True),
    "mish": F.mish,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "tanh_": lambda x: (x * 1.0).tanh_(),
    "hardsigmoid": F.hardsigmoid,
    "elu": F.elu,
    "elu in place": lambda x: F.elu(x * 1.0, 0.5, inplace=True),
    "selu": F.selu,
    "celu": F.celu,
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "softplus": lambda x: F.softplus(x, 2.0),
    "relu6": F.relu6,
    "relu": F.relu,
    "nn.GELU": nn.GELU(),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_activations_hand_all_to_their_input_but_their_value_at_zero(name: str, seed: int):
    x, g = normal(2, 7, seed=seed) * 4, normal(2, 7, seed=seed + 1)
    out, (share,), kept, tape = passed(ACTIVATIONS[name], x, cotangent=g)
    of_zero = g * ACTIVATIONS[name](torch.zeros_like(x))
    torch.testing.assert_close(share, out - of_zero)
    torch.testing.assert_close(kept, of_zero.sum(1))
    assert set(tape.seen) <= {"activation", "clipped relu"}


@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
def test_what_an_activation_makes_of_zero_is_a_constant(name: str):
    x = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()
    g = torch.ones_like(x)
    out, (share,), kept, _ = passed(ACTIVATIONS[name], x, cotangent=g)
    assert share.tolist()[1] == [0, 0] and share[0, 0] == 0 < share[0, 1]
    assert_conserved(out, [share], kept)


@pytest.mark.parametrize("function", [torch.sigmoid, F.softplus, torch.exp, torch.cos])
def test_inputs_near_zero_get_no_more_than_they_cause(function: Callable):
    """In proportion to y / x, a sigmoid's 0.5 would blow up."""
    x = torch.tensor([[1e-12, -1e-9, 1e-6, 1e-3]]).double()
    _, (share,), _, _ = passed(function, x, cotangent=torch.ones_like(x))
    assert bool((share.abs() <= 1.001 * x.abs()).all())


@pytest.mark.parametrize("function", [torch.log, torch.rsqrt, torch.reciprocal])
def test_functions_without_a_value_at_zero_hand_on_all(function: Callable):
    x = normal(2, 7).abs() + 0.1
    out, (share,), kept, _ = passed(function, x)
    torch.testing.assert_close(share, out)
    assert not bool(kept.any())


# Products


def test_a_gate_takes_nothing():
    x = normal(2, 3, 4, 4)
    for gate in (torch.sigmoid, F.hardsigmoid, nn.Sigmoid()):
        for one in (lambda x, s: x * gate(s), lambda x, s: gate(s) * x):  # noqa: B023
            out, (share, of_gate), kept, _ = passed(one, x, normal(2, 3, 1, 1, seed=1))
            torch.testing.assert_close(share, out)
            assert not bool(of_gate.any()) and not bool(kept.any())


def test_squeeze_and_excitation_that_reads_what_it_scales():
    x, weight = normal(2, 3, 4, 4).abs(), normal(3, 3)

    def excite(x: Tensor) -> Tensor:
        return x * F.linear(x.mean((2, 3)), weight).sigmoid()[:, :, None, None]

    out, (share,), kept, _ = passed(excite, x)
    torch.testing.assert_close(share, out)
    assert not bool(kept.any())


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mul": lambda a, b: a * b,
    "mul_": lambda a, b: (a * 1.0).mul_(b),
    "imul": lambda a, b: (a * 1.0).__imul__(b),
    "two gates": lambda a, b: a.sigmoid() * b.sigmoid(),
    "matmul": lambda a, b: a @ b.transpose(-2, -1),
    "bmm": lambda a, b: torch.bmm(a, b.transpose(1, 2)),
    "baddbmm": lambda a, b: torch.baddbmm(torch.empty(1, 1, 1).double(), a, b.mT, beta=0),
    "with itself": lambda a, b: (a + b) * (a + b),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_factors_get_half_each(name: str):
    a, b = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    out, (of_a, of_b), kept, _ = passed(PRODUCTS[name], a, b)
    assert_conserved(out, [of_a, of_b], kept)
    if name not in ("with itself", "two gates"):  # a gate has a value at zero, a constant
        half = out.flatten(1).sum(1) / 2
        torch.testing.assert_close(of_a.flatten(1).sum(1), half)
        torch.testing.assert_close(of_b.flatten(1).sum(1), half)


def test_matrix_products_share_out_by_contribution():
    """q k^T: (R^q)_ij = 1/2 sum_k q_ij k_kj R_ik / out_ik, and so for k."""
    q, k, g = normal(1, 3, 4), normal(1, 5, 4, seed=1), normal(1, 3, 5, seed=2)
    _, (of_q, of_k), _, _ = passed(lambda q, k: q @ k.mT, q, k, cotangent=g)
    expected_q, expected_k = torch.zeros_like(q), torch.zeros_like(k)
    for i in range(3):
        for j in range(5):
            contributions = q[0, i] * k[0, j]
            R = contributions.sum() * g[0, i, j]
            expected_q[0, i] += contributions / contributions.sum() * R / 2
            expected_k[0, j] += contributions / contributions.sum() * R / 2
    torch.testing.assert_close(of_q, expected_q)
    torch.testing.assert_close(of_k, expected_k)


def test_softmax_is_expanded_to_first_order():
    """R_i = x_i (R_i of the output - s_i sum_j R_j of the output)."""
    x, g = normal(2, 3, 5), normal(2, 3, 5, seed=1)
    out, (share,), kept, _ = passed(lambda x: x.softmax(-1), x, cotangent=g)
    s = x.exp() / x.exp().sum(-1, keepdim=True)
    torch.testing.assert_close(share, x * (out - s * out.sum(-1, keepdim=True)))
    assert_conserved(out, [share], kept)


def test_masked_softmax():
    x = normal(2, 3, 3)
    hidden = torch.ones(3, 3, dtype=torch.bool).triu(1)
    out, (share,), kept, _ = passed(lambda x: x.masked_fill(hidden, -math.inf).softmax(-1), x)
    assert not bool(share[:, hidden].any())
    assert_conserved(out, [share], kept)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_as_a_whole(causal: bool):
    """Fused attention against its three steps, each by its formula."""
    q, k, v = (normal(2, 2, 4, 3, seed=s) for s in range(3))
    g = normal(2, 2, 4, 3, seed=4)
    out, shares, kept, tape = passed(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal),
        q, k, v, cotangent=g,
    )  # fmt: skip
    assert tape.seen == {"product": 2, "softmax": 1}
    scores = q @ k.mT / math.sqrt(3)
    if causal:
        scores = scores.masked_fill(torch.ones(4, 4).triu(1).bool(), -math.inf)
    A = scores.softmax(-1)
    of_v = v * (A.mT @ g) / 2
    of_A = A * (g @ v.mT) / 2
    of_scores = scores.nan_to_num(0, 0, 0) * (of_A - A * of_A.sum(-1, keepdim=True))
    shared = torch.where(scores.isfinite(), of_scores / scores, 0) / math.sqrt(3)
    of_q, of_k = q * (shared @ k) / 2, k * (shared.mT @ q) / 2
    for share, expected in zip(shares, [of_q, of_k, of_v], strict=True):
        torch.testing.assert_close(share, expected)
    assert_conserved(out, shares, kept)


# Quotients, constants


@pytest.mark.parametrize("divide", [torch.div, lambda a, b: a / b, lambda a, b: (a * 1.0).div_(b)])
def test_the_divisor_of_a_quotient_is_held_fixed(divide: Callable):
    a, b = normal(2, 3), normal(2, 3, seed=1).abs() + 1
    out, (of_a, of_b), kept, _ = passed(divide, a, b)
    torch.testing.assert_close(of_a, out)
    assert not bool(of_b.any())
    assert_conserved(out, [of_a], kept)


def test_a_layer_norm_written_out_is_a_layer_norm():
    x, g = normal(2, 6), normal(2, 6, seed=1)

    def written_out(x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()

    def by_rsqrt(x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-5)

    _, (expected,), _, _ = passed(lambda x: F.layer_norm(x, (6,)), x, cotangent=g)
    for way in (written_out, by_rsqrt):
        _, (share,), _, _ = passed(way, x, cotangent=g)
        torch.testing.assert_close(share, expected)


CONSTANT = normal(3, 4, seed=20)
SHIFTS: dict[str, tuple[Callable, Tensor]] = {
    # what is computed, and the constant part of it
    "x + c": (lambda x: x + CONSTANT, CONSTANT),
    "c + x": (lambda x: CONSTANT + x, CONSTANT),
    "x - c": (lambda x: x - CONSTANT, -CONSTANT),
    "c - x": (lambda x: CONSTANT - x, CONSTANT),
    "x + 2": (lambda x: x + 2, torch.full((3, 4), 2.0).double()),
    "2 - x": (lambda x: 2 - x, torch.full((3, 4), 2.0).double()),
    "x.add_(c)": (lambda x: (x * 1.0).add_(CONSTANT), CONSTANT),
    "x.sub_(c, alpha=3)": (lambda x: (x * 1.0).sub_(CONSTANT, alpha=3), -3 * CONSTANT),
    "torch.add": (lambda x: torch.add(x, CONSTANT, alpha=0.5), CONSTANT / 2),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_constant_terms_keep_their_share(name: str):
    function, constant = SHIFTS[name]
    x, g = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    out, (share,), kept, _ = passed(function, x, cotangent=g)
    torch.testing.assert_close(share, (function(x) - constant) * g)
    torch.testing.assert_close(kept, (constant * g).sum((1, 2)))
    assert_conserved(out, [share], kept)


def test_constant_tokens_keep_their_share():
    x, token, g = normal(2, 3, 4), normal(1, 1, 4, seed=1), normal(2, 4, 4, seed=2)
    out, (share,), kept, _ = passed(
        lambda x: torch.cat([token.expand(2, -1, -1), x], 1), x, cotangent=g
    )
    torch.testing.assert_close(share, x * g[:, 1:])
    torch.testing.assert_close(kept, (token * g[:, :1]).sum((1, 2)))
    assert_conserved(out, [share], kept)


LINEAR_WITHOUT_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: x + x.flip(-1),
    "difference": lambda x: x - 2 * x.flip(-1),
    "concatenation": lambda x: torch.cat([x, 3 * x], 1),
    "mean": lambda x: x.mean((2, 3)),
    "average pool": lambda x: F.avg_pool2d(x, 2),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "up-sampling": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "view": lambda x: x.permute(0, 2, 3, 1).flatten(1),
    "padding": lambda x: F.pad(x, (1, 0, 2, 1)),
    "roll": lambda x: x.roll(2, -1),
    "rectifier": lambda x: F.relu(x),
}


@pytest.mark.parametrize("name", LINEAR_WITHOUT_WEIGHTS)
def test_what_needs_no_rule_passes_all_on(name: str):
    out, shares, kept, _ = passed(LINEAR_WITHOUT_WEIGHTS[name], normal(2, 3, 4, 4))
    assert_conserved(out, shares, kept)
    assert not bool(kept.any())
