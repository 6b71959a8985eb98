"""The first layer's rules where it does not read the picture's own numbers.

Reference: what lies before the layer is a linear map, written out as a matrix J. Relevance R of
what is read goes to the pixels as J^T (R / J 1), and what is read of pixels in a box lies between
c + J+ low + J- high and c + J+ high + J- low (here J has one sign in each row).
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from seewhy.autodiff.operations import Linear
from seewhy.autodiff.prefix import Prefix
from seewhy.autodiff.tape import Tape, made_by

SIZE = 6


def coordinates(x: Tensor) -> Tensor:
    rows = (
        torch.linspace(-1, 1, x.shape[2]).to(x).view(1, 1, -1, 1).expand(len(x), 1, -1, x.shape[3])
    )
    return torch.cat([x, rows], 1)


PREFIXES: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda x: x + 0,
    "normalised": lambda x: (x - 0.5) / 0.25,
    "negative": lambda x: 1 - x,
    "reflected": lambda x: F.pad(x, (2, 1, 1, 2), "reflect"),
    "padded": lambda x: F.pad(x, (2, 1, 1, 2), value=0.5),
    "space to depth": lambda x: F.pixel_unshuffle(x, 2),
    "flipped": lambda x: x.flip(3),
    "other channels": lambda x: x[:, [2, 1, 0]],
    "resized": lambda x: F.interpolate(x, size=(9, 4), mode="bilinear", align_corners=False),
    "grey": lambda x: (x * x.new_tensor([0.3, 0.6, 0.1]).view(3, 1, 1)).sum(1, keepdim=True),
    "coordinates": coordinates,
    "in place": lambda x: x.clone().sub_(0.5).mul_(2),
}


def written_out(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """J of one picture, [read, pixels]."""
    jacobian = torch.autograd.functional.jacobian(lambda v: function(v[None])[0], x)
    assert isinstance(jacobian, Tensor)
    return jacobian.reshape(-1, x.numel())


def recorded(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Prefix, Tensor]:
    x = x.detach().requires_grad_()
    with Tape({"linear", "shift", "quotient", "product"}, x):
        read = function(x)
        weight = torch.ones(2, read.shape[1], 1, 1, dtype=x.dtype)
        operation = made_by(F.conv2d(read, weight))
    assert isinstance(operation, Linear) and operation.prefix is not None
    return operation.prefix, read.detach()


@pytest.mark.parametrize("name", PREFIXES)
def test_the_way_from_the_pixels(name: str):
    function = PREFIXES[name]
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double()
    x[0, :, 2:4, 2:4] = 0
    prefix, read = recorded(function, x)
    J = written_out(function, x[0])
    R = torch.randn(read.shape, generator=torch.Generator().manual_seed(1)).double()
    sums = J.sum(1)
    share = torch.where(sums == 0, 0, R.flatten(1) / sums)
    on_pixels, of_constants = prefix.on_pixels(R)
    torch.testing.assert_close(on_pixels.flatten(1), share @ J)
    torch.testing.assert_close(of_constants.flatten(1), torch.where(sums == 0, R.flatten(1), 0.0))
    total = on_pixels.flatten(1).sum(1) + of_constants.flatten(1).sum(1)
    torch.testing.assert_close(total, R.flatten(1).sum(1))
    low, high = prefix.box(0.0, 1.0)
    constant = read.flatten(1) - x.flatten(1) @ J.T
    below, above = J.clamp(max=0).sum(1), J.clamp(min=0).sum(1)
    torch.testing.assert_close(low.flatten(1), constant + below)
    torch.testing.assert_close(high.flatten(1), constant + above)


class Behind(nn.Module):
    """A small network behind a prefix, without biases."""

    def __init__(self, prefix: Callable[[Tensor], Tensor], channels: int):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(channels, 6, 3, bias=False)
            self.fc = nn.Linear(6, 4, bias=False)
        self.prefix = prefix

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(self.prefix(x)).relu().mean((2, 3)))


@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize("method", ["lrp-epsilon-plus-flat", "lrp-epsilon-gamma-box"])
def test_no_relevance_is_lost_on_the_way(name: str, method: str):
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    x[:, :, 1:4, 1:4] = 0
    channels = PREFIXES[name](x).shape[1]
    net = Behind(PREFIXES[name], channels).double().eval()
    e = seewhy.explain(net, x, method, 1, epsilon=1e-12)
    assert e.residual is not None and float(e.residual.max()) < 1e-6
    if name not in ("padded", "coordinates"):  # constants have no share
        torch.testing.assert_close(e.heatmap.sum((1, 2)), e.score, rtol=1e-4, atol=1e-6)
    assert (e.heatmap[:, 1:4, 1:4] != 0).any() or name == "space to depth"


@pytest.mark.parametrize("name", ["flipped", "other channels"])
def test_a_rearranged_picture_gets_the_map_of_the_rearranged_network(name: str):
    """The same function, its weights rearranged instead of the picture."""
    x = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    one = Behind(PREFIXES[name], 3).double().eval()
    other = Behind(PREFIXES["nothing"], 3).double().eval()
    with torch.no_grad():
        other.conv.weight.copy_(PREFIXES[name](one.conv.weight))
    for method in ("lrp-epsilon-plus-flat", "lrp-epsilon-gamma-box"):
        maps = [seewhy.explain(net, x, method, 1).attribution for net in (one, other)]
        torch.testing.assert_close(maps[0], maps[1], rtol=1e-4, atol=1e-7)
