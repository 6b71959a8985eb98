"""Perturbations of pictures by masks: a blur of variable strength, or a blend with a baseline."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from seewhy.models.model import Model
from seewhy.perturbation.baselines import baseline, check_baseline

LEVELS, STRONGEST, SIDE = 8, 20.0, 224  # blur levels; the largest sigma, in pixels at size 224
PYRAMID = "pyramid"


class Perturbation(ABC):
    """Pictures that are visible where a mask is 1; the result has the dtype of the pictures.

    - `whole`, `hidden`: the results for a mask of ones, and for a mask of zeros.
    """

    whole: Float[Tensor, "pictures channels height width"]
    hidden: Float[Tensor, "pictures channels height width"]

    @abstractmethod
    def apply(
        self, pictures: Int[Tensor, " variants"], masks: Float[Tensor, "variants height width"]
    ) -> Float[Tensor, "variants channels height width"]:
        """Return the pictures of these indices under the masks."""


class Pyramid(Perturbation):
    """Blur of strength 1 - m, interpolated between copies blurred with evenly spaced sigmas."""

    def __init__(self, pixels: Float[Tensor, "pictures channels height width"]):
        size = pixels.shape[-2:]
        strongest = STRONGEST * min(size) / SIDE
        sigmas = [strongest * level / (LEVELS - 1) for level in range(LEVELS)]
        self._levels = torch.stack([pixels, *(_blurred(pixels, s) for s in sigmas[1:])], 1)
        self.whole, self.hidden = pixels, self._levels[:, -1]

    def apply(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Return the linear interpolation between the two levels nearest to the strength."""
        strength = (1 - masks) * (LEVELS - 1)
        levels = self._levels[pictures]
        seen = torch.zeros_like(levels[:, 0])
        for level in range(LEVELS):
            weight = (1 - (strength - level).abs()).clamp(min=0)
            seen = torch.addcmul(seen, weight[:, None].to(levels), levels[:, level])
        return seen


class Fade(Perturbation):
    """The blend m x + (1 - m) b with a baseline b."""

    def __init__(self, pixels: Tensor, fill: Tensor):
        self.whole, self.hidden = pixels, fill

    def apply(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Return the blend of the pictures and their baselines."""
        whole = self.whole[pictures]
        return torch.lerp(self.hidden[pictures], whole, masks[:, None].to(whole))


def perturbation(name: str, model: Model, pixels: Tensor) -> Perturbation:
    """Return the blur pyramid, or a blend with the baseline of that name."""
    if name == PYRAMID:
        return Pyramid(pixels)
    return Fade(pixels, baseline(name, model, pixels))


def check_perturbation(name: str) -> None:
    """Raise Unknown if the name is neither "pyramid" nor a baseline."""
    if name != PYRAMID:
        check_baseline(name)


def _blurred(pixels: Tensor, sigma: float) -> Tensor:
    # Reflection padding must be smaller than the picture, which bounds the size of the kernel.
    kernel = min(2 * round(3 * sigma) + 1, 2 * min(pixels.shape[-2:]) - 1)
    return gaussian_blur(pixels, [kernel] * 2, [max(sigma, 1e-3)] * 2)
