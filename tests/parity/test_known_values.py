"""A network so small that its attributions are known numbers (the fixture of captum's tests)."""

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import raw_batch


def known_network() -> nn.Module:
    """A convolution of ones, a rectifier, a linear layer that adds five values, takes three."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4), nn.ReLU())
    with torch.no_grad():
        net[0].weight.fill_(1)
        net[0].bias.copy_(torch.tensor([-50.0, -75.0]))
        net[3].weight.copy_(torch.tensor([1.0] * 5 + [-1.0] * 3))
        net[3].bias.zero_()
    return net


def explain(method: str, **parameters) -> tuple[Tensor, Tensor]:
    """What the method computed before and after channels are summed up, on its own grid."""
    pixels = torch.arange(16.0).view(1, 1, 4, 4)
    model = seewhy.Model(known_network(), mean=[0.0], std=[1.0])
    e = seewhy.explain(model, raw_batch(pixels), method, target=0, **parameters)
    return e.attribution[0], e.heatmap[0]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("0", [[11.25, 13.5], [20.25, 22.5]]), ("1", [[0.0, 4.0], [28.0, 32.5]])],
)
def test_grad_cam_without_relu(layer: str, expected: list):
    values, _ = explain("grad-cam", layer=layer, relu=False)
    torch.testing.assert_close(values.sum(0), torch.tensor(expected))


def test_guided_backprop():
    expected = [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]
    values, heatmap = explain("guided-backprop", reduction="sum")
    torch.testing.assert_close(heatmap, torch.tensor(expected).float())
    torch.testing.assert_close(values[0], heatmap)


def test_deconvnet():
    expected = [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]
    _, heatmap = explain("deconvnet", reduction="sum")
    torch.testing.assert_close(heatmap, torch.tensor(expected).float())


def test_lrp_epsilon():
    values, heatmap = explain("lrp-epsilon")
    expected = [[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0]]
    torch.testing.assert_close(heatmap, torch.tensor(expected).float())
    torch.testing.assert_close(values[0], heatmap)


def test_gradient_counts_paths_by_hand():
    """The first channel is open at 4 places, the second at 3 of the four: (0, 0) is shut."""
    net, pixels = known_network(), torch.arange(16.0).view(1, 1, 4, 4)
    maps = net[1](net[0](pixels))
    weights = torch.tensor([[1.0, 1, 1, 1], [1, -1, -1, -1]]).view(2, 2, 2) * (maps[0] > 0)
    expected = torch.zeros(4, 4)
    for row in range(2):
        for column in range(2):
            expected[row : row + 3, column : column + 3] += weights[:, row, column].sum()
    _, heatmap = explain("gradient", reduction="sum")
    torch.testing.assert_close(heatmap, expected)
