"""What a picture looks like where it is not seen: blurred more and more, or faded to a baseline."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from seewhy.models.model import Model
from seewhy.perturbation.baselines import baseline, check_baseline

LEVELS, STRONGEST, SIDE = 8, 20.0, 224  # blurred copies; sigma of the last, in pixels of 224
PYRAMID = "pyramid"


class Perturbation(ABC):
    """Pictures, seen where a mask is 1; of the pictures' type, whatever that of the masks is.

    - `whole`, `hidden`: what a mask of ones, and of zeros, shows.
    """

    whole: Float[Tensor, "pictures channels height width"]
    hidden: Float[Tensor, "pictures channels height width"]

    @abstractmethod
    def apply(
        self, pictures: Int[Tensor, " variants"], masks: Float[Tensor, "variants height width"]
    ) -> Float[Tensor, "variants channels height width"]:
        """The pictures of these numbers behind the masks."""


class Pyramid(Perturbation):
    """Blur whose strength is 1 - m: linear between copies blurred with evenly spaced sigmas."""

    def __init__(self, pixels: Float[Tensor, "pictures channels height width"]):
        size = pixels.shape[-2:]
        strongest = STRONGEST * min(size) / SIDE
        sigmas = [strongest * level / (LEVELS - 1) for level in range(LEVELS)]
        self._levels = torch.stack([pixels, *(_blurred(pixels, s) for s in sigmas[1:])], 1)
        self.whole, self.hidden = pixels, self._levels[:, -1]

    def apply(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Hat functions pick the two levels next to the strength."""
        strength = (1 - masks) * (LEVELS - 1)
        levels = self._levels[pictures]
        seen = torch.zeros_like(levels[:, 0])
        for level in range(LEVELS):
            weight = (1 - (strength - level).abs()).clamp(min=0)
            seen = torch.addcmul(seen, weight[:, None].to(levels), levels[:, level])
        return seen


class Fade(Perturbation):
    """m x + (1 - m) b with a baseline b."""

    def __init__(self, pixels: Tensor, fill: Tensor):
        self.whole, self.hidden = pixels, fill

    def apply(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Linear between the two."""
        whole = self.whole[pictures]
        return torch.lerp(self.hidden[pictures], whole, masks[:, None].to(whole))


def perturbation(name: str, model: Model, pixels: Tensor) -> Perturbation:
    """The blur pyramid, or fading to a baseline."""
    if name == PYRAMID:
        return Pyramid(pixels)
    return Fade(pixels, baseline(name, model, pixels))


def check_perturbation(name: str) -> None:
    """Refuse a name that is neither the pyramid's nor a baseline's."""
    if name != PYRAMID:
        check_baseline(name)


def _blurred(pixels: Tensor, sigma: float) -> Tensor:
    # The kernel must fit the picture: reflection padding needs less than a side.
    kernel = min(2 * round(3 * sigma) + 1, 2 * min(pixels.shape[-2:]) - 1)
    return gaussian_blur(pixels, [kernel] * 2, [max(sigma, 1e-3)] * 2)
