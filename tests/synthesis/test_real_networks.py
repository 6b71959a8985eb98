"""Visualisation and inversion on networks trained on photographs, of several sizes and colours."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.synthesis.inversion import invert
from seewhy.synthesis.visualization import beside_photographs, visualize

REAL = os.environ.get("SEEWHY_REAL")
pytestmark = pytest.mark.skipif(not REAL, reason="set SEEWHY_REAL to the folder of networks")


@pytest.fixture(scope="module")
def squeezenet() -> seewhy.Model:
    from benchmarks.visualizations import squeezenet

    return squeezenet(Path(REAL or ""))


@pytest.fixture(scope="module")
def photographs() -> list[Path]:
    return sorted(Path(REAL or "", "images", "imagenet").glob("*.jpg"))


def test_channels_of_squeezenet(squeezenet, photographs):
    names = [f"features.7:{channel}" for channel in (11, 40, 77, 130)]
    result = visualize(squeezenet, names, steps=60)
    result = beside_photographs(result, squeezenet, names, photographs[::10])
    assert result.exceeds is not None and float(result.exceeds.min()) == 1


def test_the_representation_of_a_dog(squeezenet, photographs):
    """A shallow layer keeps more of the picture than a deep one."""
    dog = next(file for file in photographs if "terrier" in file.name)
    result = invert(squeezenet, dog, ["features.2", "features.10"], prior="fourier", steps=40)
    original = result.original
    apart = [float((picture[0] - original).pow(2).mean()) for picture in result.pictures]
    assert apart[0] < 0.5 * apart[1]
    assert float(result.error.max()) < 0.3


class Block(nn.Module):
    """A block of the ResNet of CIFAR-10, whose shortcut has no weights."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.more = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.more:
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return (x + y).relu()


class ResNet20(nn.Module):
    """He et al. 2015, arXiv 1512.03385, for pictures of 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
        for number, (inputs, outputs, stride) in enumerate(widths, start=1):
            first = Block(inputs, outputs, stride)
            layer = nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(2)))
            setattr(self, f"layer{number}", layer)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


@pytest.fixture(scope="module")
def resnet20() -> ResNet20:
    from safetensors.torch import load_file

    net = ResNet20().eval()
    net.load_state_dict(load_file(f"{REAL}/models/resnet20_cifar10.safetensors"))
    return net


def test_small_pictures_of_cifar(resnet20):
    model = seewhy.Model(
        resnet20, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225],
        preparation=seewhy.Preparation((32, 32)),
    )  # fmt: skip
    result = visualize(model, [3, 7, "layer2:5"], steps=80)
    assert result.pictures.shape == (3, 3, 32, 32)
    assert result.seen == (True, True, None)


def test_one_channel(resnet20):
    class Grey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = resnet20

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.expand(-1, 3, -1, -1))

    model = seewhy.Model(
        Grey(), mean=0.45, std=0.225, preparation=seewhy.Preparation((32, 32), channels=1)
    )
    for parametrisation in ("fourier", "phase", "pixels"):
        result = visualize(model, [1, 8], steps=80, parametrisation=parametrisation)
        assert result.pictures.shape == (2, 1, 32, 32)
        first = visualize(model, [1, 8], steps=1, parametrisation=parametrisation)
        assert bool((result.unseen > first.unseen).all())
    picture = torch.rand(1, 1, 32, 32)
    assert invert(model, picture, "net.layer1", steps=3).pictures.shape == (1, 1, 1, 32, 32)
