"""zennit's composites on the same network say what ours say.

Two of its numbers are set to ours: a batch normalisation that it merges keeps dividing by
sqrt(1 + eps), so eps is 0 here; and its stabiliser, where a sum or an average pool shares
relevance out, is made as small as epsilon.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import normed

zennit = pytest.importorskip("zennit")
from zennit import canonizers, composites  # noqa: E402
from zennit.torchvision import ResNetCanonizer  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL = 1e-9
TARGET = [3, 7]


def vgg_like() -> tuple[nn.Module, list]:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), normed(outputs), nn.ReLU(inplace=True)]

    net = nn.Sequential(
        *block(3, 8), *block(8, 8), nn.MaxPool2d(2), *block(8, 12), nn.MaxPool2d(2),
        *block(12, 12), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(48, 16), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(16, 10),
    )  # fmt: skip
    return net, [canonizers.SequentialMergeBatchNorm()]


def resnet18() -> tuple[nn.Module, list]:
    from torchvision.models import resnet18

    return resnet18(num_classes=10), [ResNetCanonizer()]


@pytest.fixture(scope="module", params=[vgg_like, resnet18], ids=lambda f: f.__name__)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, list, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net, canonizers_ = request.param()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
                nn.init.normal_(module.running_mean, 0.0, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.3, 1.0)
                nn.init.normal_(module.bias, 0.0, 0.1)
        pixels = torch.rand(2, 3, 48, 48)
    return net.double().eval(), canonizers_, pixels


COMPOSITES = {
    "lrp-epsilon-plus": composites.EpsilonPlus,
    "lrp-epsilon-plus-flat": composites.EpsilonPlusFlat,
    "lrp-epsilon-alpha2-beta1": composites.EpsilonAlpha2Beta1,
    "lrp-epsilon-alpha2-beta1-flat": composites.EpsilonAlpha2Beta1Flat,
    "lrp-epsilon-gamma-box": composites.EpsilonGammaBox,
}


def normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).double().view(3, 1, 1) for v in (MEAN, STD))
    return (pixels.double() - mean) / std


def their_relevance(net: nn.Module, composite: composites.Composite, pixels: Tensor) -> Tensor:
    x = normalised(pixels).requires_grad_()
    with composite.context(net) as modified:
        logits = modified(x)
        chosen = torch.nn.functional.one_hot(torch.tensor(TARGET), logits.shape[1])
        return torch.autograd.grad(logits, x, logits.detach() * chosen)[0]


@pytest.mark.parametrize("biases", ["keep", "ignore"])
@pytest.mark.parametrize("method", COMPOSITES)
def test_composites(case: tuple, method: str, biases: str, close: Callable):
    net, canonizers_, pixels = case
    model = seewhy.Model(net, mean=MEAN, std=STD)
    ours = seewhy.explain(model, pixels, method, TARGET, epsilon=SMALL, biases=biases)
    bounds = {}
    if method == "lrp-epsilon-gamma-box":
        black, white = torch.zeros_like(pixels), torch.ones_like(pixels)
        bounds = {"low": normalised(black), "high": normalised(white)}
    composite = COMPOSITES[method](
        epsilon=SMALL,
        stabilizer=SMALL,
        canonizers=canonizers_,
        zero_params="bias" if biases == "ignore" else None,
        **bounds,
    )
    close(ours.attribution, their_relevance(net, composite, pixels))
    assert ours.constants is not None
    assert biases == "keep" or float(ours.constants.abs().max()) < 1e-3
