"""Tensors with a graph that does not begin at the picture are constants.

Some networks keep what they made of their parameters: attention biases, looked up once. If that was
done while parameters required gradients, the tensor still says so.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, as_model


class Caching(nn.Module):
    """Keeps a scaled table of its first forward in a dictionary, adds it and multiplies by it."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, CLASSES)
        self.table = nn.Parameter(torch.randn(2, 6, 1, 1))
        self.kept: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if "table" not in self.kept:
            self.kept["table"] = 1.5 * self.table
        shift, scale = self.kept["table"].unbind(0)
        x = F.relu((self.conv(x) + shift) * scale)
        return self.head(torch.cat([x, shift.expand_as(x)], 2).mean((2, 3)))


def network() -> Caching:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Caching().double().eval()


PIXELS = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-epsilon-plus", "deep-lift", "fullgrad"])
def test_what_a_network_keeps_of_its_parameters_is_a_constant(method: str):
    fresh, used = network(), network()
    used(PIXELS.double())  # with parameters that require gradients
    assert used.kept["table"].requires_grad
    expected = seewhy.explain(as_model(fresh), PIXELS, method, 1)
    found = seewhy.explain(as_model(used), PIXELS, method, 1)
    torch.testing.assert_close(found.attribution, expected.attribution)
    assert found.residual is not None and float(found.residual.max()) < 1e-4
    assert used.kept["table"].requires_grad  # it is theirs


def test_a_graph_may_begin_at_a_layer():
    used = network()
    used(PIXELS.double())
    fresh = seewhy.explain(as_model(network()), PIXELS, "lrp-epsilon", 1, layer="conv")
    found = seewhy.explain(as_model(used), PIXELS, "lrp-epsilon", 1, layer="conv")
    assert found.attribution.any()
    torch.testing.assert_close(found.attribution, fresh.attribution)
