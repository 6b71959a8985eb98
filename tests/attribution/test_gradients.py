"""Gradient, guided backpropagation and deconvnet against a backward pass in NumPy."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import CLASSES, as_model, raw_batch
from seewhy.attribution.methods.reduction import reduce
from seewhy.errors import Unknown

PASSED = {
    "gradient": lambda x, g: g * (x > 0),
    "deconvnet": lambda x, g: g * (g > 0),
    "guided-backprop": lambda x, g: g * (g > 0) * (x > 0),
}


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A convolution of [channels, h, w] without padding, as a loop over locations."""
    outputs, _, k, _ = weight.shape
    height, width = x.shape[1] - k + 1, x.shape[2] - k + 1
    y = np.zeros((outputs, height, width))
    for i in range(height):
        for j in range(width):
            y[:, i, j] = (weight * x[:, i : i + k, j : j + k]).sum((1, 2, 3)) + bias
    return y


def convolved_back(g: np.ndarray, weight: np.ndarray) -> np.ndarray:
    _, inputs, k, _ = weight.shape
    height, width = g.shape[1:]
    x = np.zeros((inputs, height + k - 1, width + k - 1))
    for i in range(height):
        for j in range(width):
            x[:, i : i + k, j : j + k] += np.tensordot(g[:, i, j], weight, 1)
    return x


@pytest.fixture
def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(4 * 8 * 8, CLASSES),
        ).double()  # fmt: skip


@pytest.mark.parametrize("method", PASSED)
@pytest.mark.parametrize("target", [0, 3])
def test_against_the_backward_by_hand(net: nn.Sequential, method: str, target: int):
    pixels = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(4))
    e = seewhy.explain(as_model(net), pixels, method, target, reduction="sum")

    parameters = [p.detach().numpy() for p in net.parameters()]
    w1, b1, w2, b2, w3, b3 = parameters
    mean, std = (np.float32(v).astype(float) for v in ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3]))
    std = std.reshape(3, 1, 1)
    x = (pixels[0].double().numpy() - mean.reshape(3, 1, 1)) / std
    u = convolved(x, w1, b1)
    v = convolved(np.maximum(u, 0), w2, b2)
    logits = w3 @ np.maximum(v, 0).ravel() + b3
    passed = PASSED[method]
    back = convolved_back(passed(v, w3[target].reshape(v.shape)), w2)
    back = convolved_back(passed(u, back), w1) / std

    np.testing.assert_allclose(e.logits[0], logits, rtol=1e-5)
    np.testing.assert_allclose(e.attribution[0], back, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(e.heatmap[0], back.sum(0), rtol=1e-5, atol=1e-6)
    assert e.signed


@pytest.mark.parametrize("method", PASSED)
def test_reductions(net: nn.Sequential, method: str):
    pixels = torch.rand(2, 3, 12, 12)
    signs = {}
    for reduction in ("max", "norm", "sum"):
        e = seewhy.explain(as_model(net), pixels, method, reduction=reduction)
        signs[reduction] = e.signed
        torch.testing.assert_close(e.heatmap, reduce(e.attribution, reduction))
    assert signs == {"max": False, "norm": False, "sum": True}


def test_reduce():
    values = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1)
    assert reduce(values, "max").item() == 4
    assert reduce(values, "norm").item() == pytest.approx(5)
    assert reduce(values, "sum").item() == -1
    with pytest.raises(Unknown, match="max, norm or sum"):
        reduce(values, "zzz")


class Straight(nn.Module):
    """A network whose logits are linear in the pixels, so their gradient is the weights."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 4 * 4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def test_the_gradient_of_a_linear_network_is_its_weights():
    net = Straight()
    e = seewhy.explain(seewhy.Model(net), raw_batch(torch.randn(2, 3, 4, 4)), "gradient", [1, 4])
    expected = net.fc.weight.detach()[[1, 4]].view(2, 3, 4, 4)
    torch.testing.assert_close(e.attribution, expected)
