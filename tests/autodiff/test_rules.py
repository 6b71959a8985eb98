"""The rules against their formulas, element by element, in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from seewhy.autodiff.operations import RECTIFIER_KINDS
from seewhy.autodiff.rules import DECONVNET, GRADIENT, GUIDED, Rules
from seewhy.autodiff.tape import Tape

FORMULAS = {
    GRADIENT: lambda x, g: g * (x > 0),
    DECONVNET: lambda x, g: g * (g > 0),
    GUIDED: lambda x, g: g * (g > 0) * (x > 0),
}

values = st.lists(
    st.tuples(*[st.floats(-4, 4).filter(lambda v: abs(v) > 1e-6)] * 2), min_size=1, max_size=6
)


@pytest.mark.parametrize("rules", FORMULAS, ids=lambda rules: rules.name)
@given(pairs=values)
def test_one_rectifier(rules: Rules, pairs: list):
    x, g = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    x.requires_grad_()
    tape = Tape(RECTIFIER_KINDS)
    with tape:
        y = F.relu(x)
    (pulled,) = tape.pull((y * g).sum(), [x], rules)
    assert torch.equal(pulled, FORMULAS[rules](x.detach(), g))


@pytest.mark.parametrize("rules", FORMULAS, ids=lambda rules: rules.name)
def test_three_layers_by_hand(rules: Rules):
    """Matrices, one after the other: the backward written out."""
    generator = torch.Generator().manual_seed(5)
    a, b, c = (torch.randn(16, 16, dtype=torch.float64, generator=generator) for _ in range(3))
    x = torch.randn(16, dtype=torch.float64, generator=generator, requires_grad=True)
    tape = Tape(RECTIFIER_KINDS)
    with tape:
        y = c @ F.relu(b @ torch.relu_(a @ x))
    (pulled,) = tape.pull(y[2], [x], rules)

    passed = FORMULAS[rules]
    u = (a @ x).detach()
    v = b @ u.clamp(min=0)
    expected = passed(u, passed(v, c[2]) @ b) @ a
    torch.testing.assert_close(pulled, expected)
    assert bool(expected.any())


def test_kinds_without_a_rule_get_the_gradient():
    assert GUIDED.for_kind("conv") == GRADIENT.for_kind("relu")
    assert GUIDED.for_kind("relu") != GRADIENT.for_kind("relu")
