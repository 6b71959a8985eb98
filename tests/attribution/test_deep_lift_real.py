"""DeepLIFT on a real SqueezeNet against plain float64 loops, and why captum's is another."""

import copy
import os
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from rescale_reference import contributions

pytestmark = pytest.mark.skipif(
    "SEEWHY_REAL" not in os.environ, reason="SEEWHY_REAL names no folder of real models and photos"
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_1

    folder = Path(os.environ["SEEWHY_REAL"]) / "models"
    weights = load_file(folder / "squeezenet1_1_imagenet_fp16.safetensors")
    with torch.random.fork_rng(devices=[]):
        net = squeezenet1_1()
    net.load_state_dict({name: value.double() for name, value in weights.items()})
    return net.double().eval()


@pytest.fixture(scope="module")
def ours(net: nn.Module) -> seewhy.Explanation:
    """Of a photograph of a water ouzel, 112 px, against its mean colour."""
    model = seewhy.Model(net, mean=MEAN, std=STD, size=112)
    photo = Path(os.environ["SEEWHY_REAL"]) / "images" / "imagenet" / "n01601694_water_ouzel.jpg"
    return seewhy.explain(model, photo, "deep-lift", 20)


@pytest.fixture(scope="module")
def normalised(ours: seewhy.Explanation) -> Tensor:
    mean, std = (torch.tensor(v).double().view(1, 3, 1, 1) for v in (MEAN, STD))
    return (ours.batch.pixels.double() - mean) / std


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_ours_is_what_the_rules_say(net: nn.Module, ours: seewhy.Explanation, normalised: Tensor):
    expected = contributions(net, normalised, torch.zeros_like(normalised), 20)
    assert error(ours.attribution, expected) < 1e-6
    with torch.no_grad():
        rise = net(normalised)[0, 20] - net(torch.zeros_like(normalised))[0, 20]
    assert float(expected.sum()) == pytest.approx(float(rise), rel=1e-9)
    assert float(rise) > 1 and float(ours.residual) < 1e-9


def _overwriting(x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, m: Tensor) -> Tensor:
    """captum's maximum pool: what two windows give to one input is not added up.

    It uses max_unpool2d, in which the last of several values for one place replaces the others. For
    a pool that reads a rectifier directly, here the first, it takes the gradient.
    """
    gradient = torch.ops.aten.max_pool2d_with_indices_backward(
        m, x, [3, 3], [2, 2], [0, 0], [1, 1], True, _argmax(x)
    )
    if x.shape[1] == 64:
        return gradient
    largest = torch.maximum(y, y0)
    given = sum(
        F.max_unpool2d(m * change, _argmax(values), 3, 2, output_size=x.shape[2:])
        for change, values in ((largest - y0, x), (y - largest, x0))
    )
    change = x - x0
    return torch.where(change.abs() < 1e-10, gradient, given / change)


def _argmax(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 2, ceil_mode=True, return_indices=True)[1]


def test_captum_loses_what_overlapping_windows_give(net: nn.Module, normalised: Tensor):
    captum = pytest.importorskip("captum.attr")
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    reference = torch.zeros_like(normalised)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its hooks
        theirs, missing = captum.DeepLift(net).attribute(
            normalised, reference, 20, return_convergence_delta=True
        )
    assert (
        error(theirs.detach(), contributions(net, normalised, reference, 20, _overwriting)) < 1e-6
    )
    with torch.no_grad():
        rise = net(normalised)[0, 20] - net(reference)[0, 20]
    assert float(missing.abs()) > 0.3 * float(rise)
