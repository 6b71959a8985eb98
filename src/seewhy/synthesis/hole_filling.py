"""Learn from the visible pixels of one picture what a smooth fill of its holes misses.

In each step a shifted copy of the mask hides more pixels, all holes are filled smoothly, and an
hourglass network learns what to add to the fill where these pixels are known. It starts from no
correction at all. A tenth of the visible pixels is never used for learning: they tell which share
of the correction to keep.

The architecture is that of Ulyanov, Vedaldi, Lempitsky, Deep Image Prior, CVPR 2018,
arXiv 1711.10925; predicting pixels that were hidden on purpose: Quan et al. 2020, Self2Self With
Dropout (CVPR 2020).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.synthesis.adam import Adam
from seewhy.synthesis.deep_image_prior import DeepImagePrior
from seewhy.synthesis.smooth_fill import smooth_fill
from seewhy.synthesis.transforms import GREY

STREAM = 0x401E
MOST_HIDDEN = 0.3  # of the visible pixels that a step hides
HELD_OUT = 0.1  # of the visible pixels, which are not learned from
SLOWEST = 0.02  # of the learning rate, which falls along a cosine
AVERAGE = 0.98  # weight of the earlier networks in the mean of the weights

Tell = Callable[[float], None]


def learned_fill(
    prior: DeepImagePrior,
    pixels: Float[Tensor, "1 c h w"],
    visible: Float[Tensor, "1 1 h w"],
    steps: int,
    seed: int,
    tell: Tell,
) -> tuple[Float[Tensor, "1 c h w"], Float[Tensor, " steps"]]:
    """Return the picture with its holes filled in, and the loss by step.

    `prior` must have one input for each channel and one for the mask.
    """
    # Apart from the numbers that a user may have made the mask with.
    generator = torch.Generator().manual_seed(seed ^ STREAM)
    held_out = visible * (torch.rand(visible.shape, generator=generator) < HELD_OUT).to(visible)
    parameters = _without_output([p.to(pixels) for p in prior.start(_size(pixels), [seed])])
    average = [p.clone() for p in parameters]
    adam, row, losses = Adam(parameters, prior.rate), torch.tensor([0]), []
    for step in range(1, steps + 1):
        hidden = more_hidden(1 - visible.cpu(), generator).to(visible)
        shown = visible * (1 - hidden)
        predicted = (visible - shown) * (1 - held_out)
        leaves = [p.requires_grad_() for p in parameters]
        made = _fill(prior, leaves, pixels, shown)[0]
        count = (predicted.sum() * pixels.shape[1]).clamp_min(1)
        loss = (predicted * (made - pixels)).pow(2).sum() / count
        gradients = torch.autograd.grad(loss, leaves)
        parameters = [p.detach() for p in leaves]
        adam.rate = prior.rate * max(SLOWEST, (1 + math.cos(math.pi * step / steps)) / 2)
        adam.step(parameters, gradients, row)
        for mean, weights in zip(average, parameters, strict=True):
            mean.lerp_(weights, 1 - AVERAGE)
        losses.append(loss.detach())
        tell(step / steps)
    with torch.no_grad():
        share = _share(prior, average, pixels, visible, held_out)
        made, smooth = _fill(prior, average, pixels, visible)
    return smooth + share * (made - smooth), torch.stack(losses).float().cpu()


def more_hidden(
    hidden: Float[Tensor, "1 1 h w"], generator: torch.Generator
) -> Float[Tensor, "1 1 h w"]:
    """Return 1 where a shifted and mirrored copy of the mask hides a pixel, of many only some."""
    height, width = hidden.shape[2:]
    numbers = torch.rand(3, generator=generator)
    copy = hidden.roll((int(numbers[0] * height), int(numbers[1] * width)), (2, 3))
    copy = copy.flip(3) if numbers[2] > 0.5 else copy
    share = min(1.0, MOST_HIDDEN / float(hidden.mean()))
    return copy * (torch.rand(hidden.shape, generator=generator) < share)


def _fill(
    prior: DeepImagePrior, weights: list[Tensor], pixels: Tensor, shown: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the smooth fill with the network's correction, and without it."""
    smooth = smooth_fill(pixels, shown)
    seen = torch.zeros_like(prior.noise(_size(pixels))).to(pixels)
    height, width = pixels.shape[2:]
    seen[:, :, :height, :width] = torch.cat([smooth - GREY, shown], 1)
    return smooth + prior.from_noise(weights, seen, _size(pixels)) - GREY, smooth


def _share(
    prior: DeepImagePrior,
    weights: list[Tensor],
    pixels: Tensor,
    visible: Tensor,
    held_out: Tensor,
) -> float:
    """Return the share of the correction, from 0 to 1, that fits the held-out pixels best."""
    made, smooth = _fill(prior, weights, pixels, visible - held_out)
    correction, wanted = held_out * (made - smooth), held_out * (pixels - smooth)
    best = (correction * wanted).sum() / correction.pow(2).sum().clamp_min(1e-12)
    return float(best.clamp(0, 1))


def _without_output(parameters: list[Tensor]) -> list[Tensor]:
    """Return the weights with those of the last convolution set to zero: a grey picture."""
    return [*parameters[:-2], *(torch.zeros_like(p) for p in parameters[-2:])]


def _size(pixels: Tensor) -> tuple[int, int, int]:
    return (pixels.shape[1], pixels.shape[2], pixels.shape[3])
