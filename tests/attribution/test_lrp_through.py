"""Relevance that passes through named channels only, on networks with paths around every layer.

Without biases, with ReLUs and with a vanishing epsilon, LRP is the input times the gradient: what
passes through channel c of activation a is x * d(g_c a_c)/dx with g = d(score)/da held fixed.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import seewhy
from seewhy.errors import NotApplicable


class Blocks(nn.Module):
    """Convolutions, plain or with a path around them that is added or concatenated."""

    def __init__(self, kinds: list[str]):
        super().__init__()
        self.kinds, channels = kinds, 3
        self.convs = nn.ModuleList()
        for kind in kinds:
            self.convs.append(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            channels *= 2 if kind == "beside" else 1
        self.fc = nn.Linear(channels, 4, bias=False)

    def forward(self, x: Tensor, seen: dict[int, Tensor] | None = None) -> Tensor:
        for i, (kind, conv) in enumerate(zip(self.kinds, self.convs, strict=True)):
            y = conv(x)
            if seen is not None:
                seen[i] = y
            y = y.relu()
            x = y if kind == "plain" else x + y if kind == "added" else torch.cat([x, y], 1)
        return self.fc(x.mean((2, 3)))


def passed(net: Blocks, x: Tensor, gates: list[tuple[int, int]]) -> Tensor:
    """Return the relevance through each (block, channel), computed with plain autograd."""
    x = x.detach().requires_grad_()
    seen: dict[int, Tensor] = {}
    value = net(x, seen)[:, 1].sum()
    for block, channel in sorted(gates, reverse=True):
        (gradient,) = torch.autograd.grad(value, seen[block], retain_graph=True)
        value = (seen[block] * gradient.detach())[:, channel].sum()
    (gradient,) = torch.autograd.grad(value, x)
    return x.detach() * gradient


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.sampled_from(["plain", "added", "beside"]), min_size=1, max_size=4),
    st.data(),
    st.integers(0, 1000),
)
def test_only_what_passes_the_channels_counts(kinds: list[str], data, seed: int):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Blocks(kinds).double().eval()
        pixels = torch.rand(2, 3, 6, 6)
    model = seewhy.Model(net, mean=0.5, std=0.25)
    blocks = data.draw(st.sets(st.integers(0, len(kinds) - 1), min_size=1, max_size=2))
    gates = [(b, data.draw(st.integers(0, net.convs[b].out_channels - 1))) for b in blocks]
    through = tuple(f"convs.{b}:{c}" for b, c in data.draw(st.permutations(gates)))
    expected = passed(net, (pixels.double() - 0.5) / 0.25, gates)
    found = seewhy.explain(model, pixels, "lrp-epsilon", 1, epsilon=1e-13, through=through)
    scale = float(expected.abs().max())
    torch.testing.assert_close(
        found.attribution.double(), expected, rtol=1e-4, atol=1e-5 * scale + 1e-12
    )
    (block, channel) = gates[0]
    if len(gates) == 1:
        one = seewhy.relevant_channels(
            model, pixels, f"convs.{block}", 1, "lrp-epsilon", count=net.convs[block].out_channels
        )
        rank = one.channels[0].tolist().index(channel)
        (alone,) = seewhy.explain(model, pixels[:1], "lrp-epsilon", 1, through=through).heatmap
        torch.testing.assert_close(one.maps[0, rank], alone, rtol=1e-3, atol=1e-4 * scale)


class Beside(nn.Module):
    """Two parallel convolutions."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.cat([self.a(x), self.b(x)], 1).relu().mean((2, 3)))


def test_layers_of_which_neither_reads_the_other_are_not_both_passed():
    with pytest.raises(NotApplicable, match="does not depend on a via the channels in through"):
        seewhy.explain(Beside(), torch.rand(1, 3, 5, 5), "lrp-epsilon", 1, through=("a:1", "b:1"))


def test_a_layer_before_the_one_that_is_read_is_refused():
    net = Blocks(["plain", "plain"])
    with pytest.raises(NotApplicable, match="does not depend on"):
        seewhy.explain(
            net, torch.rand(1, 3, 5, 5), "lrp-epsilon", 1, layer="convs.1", through="convs.0:1"
        )
