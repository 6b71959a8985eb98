"""The deep image prior: a picture is the output of an untrained convolutional network.

    parametrisation    the weights of an hourglass network; its input is fixed noise
    regularisation     a little more noise on the input in each step

Ulyanov, Vedaldi, Lempitsky, Deep Image Prior, CVPR 2018, arXiv 1711.10925. Each picture has a
network of its own; those of a batch run together, as grouped convolutions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.synthesis.parametrisations import Parametrisation, Size

SLOPE = 0.2  # of the leaky rectifiers
NORM_EPSILON = 1e-5
INPUT_SEED = 0xD1


@dataclass(frozen=True)
class DeepImagePrior(Parametrisation):
    """The weights of an hourglass network with skip connections.

    - `channels`: of each scale, from fine to coarse. - `skips`: channels of each skip connection.
    - `inputs`: channels of the fixed noise, uniform in [0, 0.1].

    Pictures of any size; the sides are padded to a multiple of 2 ^ scales inside.
    """

    channels: tuple[int, ...] = (16, 32, 64, 128, 128)
    skips: int = 4
    inputs: int = 32
    rate: float = 0.01
    name = "deep-image-prior"

    def __post_init__(self) -> None:
        if not self.channels or min(*self.channels, self.skips, self.inputs, 1) < 1:
            raise SeewhyError("a deep image prior needs at least one scale and one channel of each")

    def start(self, size: Size, seeds: Sequence[int]) -> list[Tensor]:
        """Return random weights, as torch initialises convolutions, one network per seed."""
        rows = [list(self._initial(size[0], seed)) for seed in seeds]
        return [torch.stack(tensors) for tensors in zip(*rows, strict=True)]

    def picture(self, parameters: list[Tensor], size: Size) -> Float[Tensor, "rows c h w"]:
        """Run the network of each row on the fixed noise."""
        return self.from_noise(parameters, self.noise(size), size)

    def from_noise(
        self,
        parameters: list[Tensor],
        noise: Float[Tensor, "1 inputs H W"],
        size: Size,
    ) -> Float[Tensor, "rows c h w"]:
        """Run the network of each row on the given input."""
        _, height, width = size
        padded = (noise.shape[2], noise.shape[3])
        noise = noise.to(parameters[0])
        layers = iter(parameters)
        x = noise.repeat(1, len(parameters[0]), 1, 1)  # rows lie side by side, as groups
        rows = len(parameters[0])
        skips = []
        for _ in self.channels:
            skips.append(_block(x, layers, rows, kernel=1))
            x = _block(x, layers, rows, stride=2)
            x = _block(x, layers, rows)
        for skip in reversed(skips):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = _beside(x, skip, rows)
            x = _normalised(x, layers, rows)
            x = _block(x, layers, rows)
            x = _block(x, layers, rows, kernel=1)
        x = _convolution(x, layers, rows, kernel=1)
        pictures = x.sigmoid().view(rows, -1, *padded)
        return pictures[:, :, :height, :width]

    def noise(self, size: Size) -> Float[Tensor, "1 inputs H W"]:
        """Return the fixed input for pictures of a size, which is padded for the scales."""
        multiple = 2 ** len(self.channels)
        height, width = (-(-side // multiple) * multiple for side in size[1:])
        generator = torch.Generator().manual_seed(INPUT_SEED)
        return 0.1 * torch.rand(1, self.inputs, height, width, generator=generator)

    def _initial(self, outputs: int, seed: int) -> Iterator[Tensor]:
        """Yield the weights of one network in the order in which they are used."""
        generator = torch.Generator().manual_seed(seed)
        before = self.inputs
        for channels in self.channels:
            yield from _block_weights(before, self.skips, 1, generator)
            yield from _block_weights(before, channels, 3, generator)
            yield from _block_weights(channels, channels, 3, generator)
            before = channels
        for channels in reversed(self.channels):
            yield from _norm_weights(before + self.skips)
            yield from _block_weights(before + self.skips, channels, 3, generator)
            yield from _block_weights(channels, channels, 1, generator)
            before = channels
        yield from _convolution_weights(before, outputs, 1, generator)


def _convolution_weights(
    inputs: int, outputs: int, kernel: int, generator: torch.Generator
) -> Iterator[Tensor]:
    bound = 1 / math.sqrt(inputs * kernel * kernel)
    for shape in ((outputs, inputs, kernel, kernel), (outputs,)):
        yield bound * (2 * torch.rand(*shape, generator=generator) - 1)


def _norm_weights(channels: int) -> Iterator[Tensor]:
    yield torch.ones(channels)
    yield torch.zeros(channels)


def _block_weights(
    inputs: int, outputs: int, kernel: int, generator: torch.Generator
) -> Iterator[Tensor]:
    yield from _convolution_weights(inputs, outputs, kernel, generator)
    yield from _norm_weights(outputs)


def _block(
    x: Tensor, layers: Iterator[Tensor], rows: int, kernel: int = 3, stride: int = 1
) -> Tensor:
    """Convolution, normalisation and leaky rectifier."""
    x = _convolution(x, layers, rows, kernel, stride)
    return F.leaky_relu(_normalised(x, layers, rows), SLOPE)


def _convolution(
    x: Tensor, layers: Iterator[Tensor], rows: int, kernel: int = 3, stride: int = 1
) -> Tensor:
    weight, bias = next(layers), next(layers)
    if kernel > 1:
        x = F.pad(x, (kernel // 2,) * 4, mode="reflect")
    return F.conv2d(x, weight.flatten(0, 1), bias.flatten(), stride=stride, groups=rows)


def _normalised(x: Tensor, layers: Iterator[Tensor], rows: int) -> Tensor:
    """Normalise each channel of each row over its positions, as batch norm of one picture does."""
    scale, shift = next(layers).flatten(), next(layers).flatten()
    return F.instance_norm(x, weight=scale, bias=shift, eps=NORM_EPSILON)


def _beside(x: Tensor, skip: Tensor, rows: int) -> Tensor:
    """Concatenate the channels of each row."""
    size = x.shape[2:]
    parts = [t.view(rows, -1, *size) for t in (x, skip)]
    return torch.cat(parts, 1).view(1, -1, *size)
