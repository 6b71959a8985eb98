"""Fast inference gives the same outputs as the unmodified network."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, Body, as_model, head, normed
from seewhy.engine.inference import prepare
from seewhy.models.session import borrowed


def torchvision_net(name: str) -> nn.Module:
    import torchvision

    return getattr(torchvision.models, name)(num_classes=12)


def timm_net(name: str) -> nn.Module:
    return pytest.importorskip("timm").create_model(name, num_classes=12)


def stirred(net: nn.Module) -> nn.Module:
    """Set normalisations that are not the identity."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0.0, 0.2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    return net.eval()


FOLDED = [
    (torchvision_net, "resnet18", 20),
    (torchvision_net, "mobilenet_v2", 52),
    (torchvision_net, "densenet121", 59),  # others normalise concatenations
    (torchvision_net, "squeezenet1_1", 0),
    (timm_net, "resnet10t", 14),
    (timm_net, "efficientnet_b0", 49),
    (timm_net, "mobilenetv3_small_050", 34),
    (timm_net, "convnext_atto", 0),
    (timm_net, "vit_tiny_patch16_224", 0),
]


@pytest.mark.parametrize(("make", "name", "folded"), FOLDED, ids=[name for _, name, _ in FOLDED])
def test_folding_says_the_same(make: Callable, name: str, folded: int, unchanged: Callable):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = stirred(make(name))
        side = 224 if name.startswith("vit") else 64
        pixels = torch.rand(2, 3, side, side)
    model = as_model(net)
    expected = model(pixels)
    with unchanged(net), borrowed(net):
        inference = prepare(model, pixels)
        with torch.no_grad():
            found = inference.logits(inference.normalised(pixels))
    assert inference.folded == folded, inference.folded
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("precision", ["full", "fast"])
def test_every_network_says_the_same(network: str, precision: str, unchanged: Callable):
    case = NETWORKS[network]
    model, pixels = case.model(), case.pixels()
    expected = model(pixels)
    with unchanged(model.net), borrowed(model.net):
        inference = prepare(model, pixels, precision)
        with torch.no_grad():
            found = inference.logits(inference.normalised(pixels))
    tolerance = 1e-4 if precision == "full" else 0.1
    torch.testing.assert_close(
        found, expected, rtol=0, atol=tolerance * float(expected.abs().max()), check_dtype=False
    )


class ReadTwice(Body):
    """The input of the normalisation is read by another operation too."""

    def __init__(self):
        super().__init__()
        self.norm = normed(8)

    def features(self, x: Tensor) -> Tensor:
        x = self.second(F.relu(self.first(x)))
        return F.relu(self.norm(x)) + 0.3 * x.sigmoid()


class ReadLater(ReadTwice):
    """The input of the normalisation is also read through a view."""

    def features(self, x: Tensor) -> Tensor:
        x = self.second(F.relu(self.first(x)))
        flat = x.flatten(2)
        return F.relu(self.norm(x)) + 0.3 * flat.sigmoid().view_as(x)


class NormTwice(Body):
    """One normalisation for two convolutions."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = normed(8)

    def features(self, x: Tensor) -> Tensor:
        y = self.norm(self.second(F.relu(self.first(x))))
        return F.relu(y) + F.relu(self.norm(self.other(x)))


class ConvolutionTwice(Body):
    """One convolution, normalised in two ways."""

    def __init__(self):
        super().__init__()
        self.norm, self.other = normed(6), normed(6)

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x))) - F.relu(self.other(self.first(x.flip(3))))
        return F.relu(self.second(x))


class SharedWeight(Body):
    """Two convolutions share weights, and only one is normalised."""

    def __init__(self):
        super().__init__()
        self.norm = normed(6)
        self.again = nn.Conv2d(3, 6, 3, padding=1)
        self.again.weight = self.first.weight

    def features(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.first(x))) + self.again(x)
        return F.relu(self.second(y))


class ReadsItsWeight(Body):
    """The weight of a convolution is also used by another operation."""

    def __init__(self):
        super().__init__()
        self.norm = normed(6)

    def features(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.first(x))) * self.first.weight.abs().mean()
        return F.relu(self.second(y))


def hooked(where: str) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 6, 3), normed(6), nn.ReLU(), head(6))
    layer = net[0] if where == "convolution" else net[1]
    layer.register_forward_hook(lambda module, args, output: output.abs() + 0.1)
    return net


def hooked_before() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 6, 3), normed(6), nn.ReLU(), head(6))
    net[1].register_forward_pre_hook(lambda module, args: (args[0].abs(),))
    return net


def in_training_only() -> nn.Module:
    """A normalisation without running statistics uses batch statistics."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU(), head(6)
    )


NOT_FOLDED: dict[str, Callable[[], nn.Module]] = {
    "read twice": ReadTwice,
    "read through a view": ReadLater,
    "one normalisation twice": NormTwice,
    "one convolution twice": ConvolutionTwice,
    "shared weight": SharedWeight,
    "weight read": ReadsItsWeight,
    "hook on the convolution": lambda: hooked("convolution"),
    "hook on the normalisation": lambda: hooked("normalisation"),
    "hook before the normalisation": hooked_before,
    "no running statistics": in_training_only,
}


@pytest.mark.parametrize("name", NOT_FOLDED)
def test_what_must_not_be_folded_is_not(name: str, unchanged: Callable):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = NOT_FOLDED[name]().eval()
    model, pixels = as_model(net), NETWORKS["batch_norm"].pixels()
    expected = model(pixels)
    with unchanged(net), borrowed(net):
        inference = prepare(model, pixels)
        with torch.no_grad():
            found = inference.logits(inference.normalised(pixels))
    assert inference.folded == 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_weights_that_change_afterwards_are_seen():
    """Each explanation makes a new copy."""
    case = NETWORKS["batch_norm"]
    net, pixels = case.build(), case.pixels()
    model = as_model(net)
    before = seewhy.explain(model, pixels, "occlusion", 1)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for one in (net, other):
            one[1].running_mean += 0.3
            one[0].weight *= 1.5
    after = seewhy.explain(model, pixels, "occlusion", 1)
    assert not torch.allclose(before.heatmap, after.heatmap)
    expected = seewhy.explain(as_model(other), pixels, "occlusion", 1)
    assert torch.equal(after.heatmap, expected.heatmap)
