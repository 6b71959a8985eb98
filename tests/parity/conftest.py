"""The same function, pixels to logits, for seewhy and for foreign libraries."""

import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import normed
from seewhy import zoo
from seewhy.scenes import render, sample

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PixelNet(nn.Module):
    """Normalisation and network in one, with rectifiers that foreign hooks can bear.

    In float64: float32 libraries disagree wherever rounding flips a rectifier near zero.
    """

    def __init__(self, net: nn.Module, mean: Sequence[float] = MEAN, std: Sequence[float] = STD):
        super().__init__()
        self.net = copy.deepcopy(net)
        for module in self.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.double().eval()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net((pixels - self.mean) / self.std)


@dataclass(frozen=True)
class Subject:
    """One network in both hands. `layer` is where Grad-CAM reads; `exact` are the pixels."""

    model: seewhy.Model
    foreign: PixelNet
    pixels: Tensor
    target: list[int]
    layer: str

    @property
    def foreign_layer(self) -> nn.Module:
        return self.foreign.net.get_submodule(self.layer)

    @property
    def exact(self) -> Tensor:
        return self.pixels.double()

    @property
    def baseline(self) -> Tensor:
        return self.foreign.mean.expand_as(self.pixels)


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1, self.norm2 = normed(channels), normed(channels)
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        y += x
        return self.relu2(y)


def small_resnet() -> tuple[nn.Module, str]:
    stem = [nn.Conv2d(3, 12, 5, 2), normed(12), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10)]
    return nn.Sequential(*stem, Block(12), Block(12), *tail), "5"


def resnet18() -> tuple[nn.Module, str]:
    from torchvision.models import resnet18

    return resnet18(num_classes=50), "layer4"


RANDOM: dict[str, Callable[[], tuple[nn.Module, str]]] = {
    "small_resnet": small_resnet,
    "resnet18": resnet18,
}


def _random_subject(name: str) -> Subject:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net, layer = RANDOM[name]()
        pixels = torch.rand(2, 3, 64, 64)
    model = seewhy.Model(net.double().eval(), mean=MEAN, std=STD)
    return Subject(model, PixelNet(net), pixels, [3, 7], layer)


def _bundled() -> Subject:
    """The classifier that ships with seewhy, on its own kind of pictures."""
    net, card = zoo.load("scenes")
    net.double()
    model = seewhy.Model(net, mean=card["mean"], std=card["std"])
    scenes = render(sample(2, seed=11), 64)
    pixels = _grained(scenes.pixels)
    target = model(pixels).argmax(1).tolist()
    return Subject(model, PixelNet(net, card["mean"], card["std"]), pixels, target, "stages")


def _grained(pixels: Tensor) -> Tensor:
    """With a grain of noise: in flat areas max-pools meet ties, which rounding would decide."""
    grain = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0))
    return 0.9 * pixels + 0.1 * grain


def _photos() -> Subject:
    """A trained SqueezeNet on two photographs."""
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_1

    folder = Path(os.environ["SEEWHY_REAL"])
    net = squeezenet1_1().double().eval()
    weights = load_file(folder / "models" / "squeezenet1_1_imagenet_fp16.safetensors")
    net.load_state_dict({name: value.double() for name, value in weights.items()})
    names = json.loads((folder / "images" / "imagenet_classes.json").read_text())
    assert len(names) == 1000
    model = seewhy.Model(net, mean=MEAN, std=STD, size=128)
    photos = sorted((folder / "images" / "imagenet").glob("*.jpg"))[100:300:100]
    pixels = _grained(model.prepare(photos).pixels)
    target = model(pixels).argmax(1).tolist()
    return Subject(model, PixelNet(net), pixels, target, "features")


@pytest.fixture(scope="session", params=[*RANDOM, "bundled", "squeezenet-on-photos"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param in RANDOM:
        return _random_subject(request.param)
    if request.param == "bundled":
        return _bundled()
    if "SEEWHY_REAL" not in os.environ:
        pytest.skip("SEEWHY_REAL does not name the folder of real models and photographs")
    return _photos()


@pytest.fixture
def close() -> Callable[[Tensor, Tensor], None]:
    """Agreement to 1e-4 of the largest value."""

    def check(ours: Tensor, theirs: Tensor) -> None:
        assert ours.shape == theirs.shape
        assert theirs.abs().max() > 0
        theirs = theirs.detach().float()
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        assert error < 1e-4, f"relative error {error:.2e}"

    return check
