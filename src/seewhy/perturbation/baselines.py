"""Baselines: the pictures that stand for absent information, from which attributions start."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from seewhy.errors import SeewhyError, Unknown
from seewhy.models.model import Model


def _mean(model: Model, pixels: Tensor) -> Tensor:
    return model.mean.to(pixels).expand_as(pixels)


def _blurred(model: Model, pixels: Tensor) -> Tensor:
    sigma = max(1.0, min(pixels.shape[-2:]) / 20)
    # Reflection padding must be smaller than the picture, which bounds the size of the kernel.
    kernel = min(2 * round(3 * sigma) + 1, 2 * min(pixels.shape[-2:]) - 1)
    return gaussian_blur(pixels, [kernel] * 2, [sigma] * 2)


def _noise(model: Model, pixels: Tensor) -> Tensor:
    noise = torch.rand(pixels.shape[1:], generator=torch.Generator().manual_seed(0))
    return noise.to(pixels).expand_as(pixels)


BASELINES: dict[str, Callable[[Model, Tensor], Tensor]] = {
    "mean": _mean,
    "black": lambda model, pixels: torch.zeros_like(pixels),
    "grey": lambda model, pixels: torch.full_like(pixels, 0.5),
    "white": lambda model, pixels: torch.ones_like(pixels),
    "blur": _blurred,
    "noise": _noise,
}


def add_baseline(name: str, make: Callable[[Model, Tensor], Tensor]) -> None:
    """Register a baseline under a name, such as pictures in-filled by a network.

    - `make`: takes the model and pixels in [0, 1], [batch, channels, height, width], and returns
    the baselines, in the same shape.

        seewhy.add_baseline("in-filled", lambda model, pixels: painter(pixels))
        seewhy.explain(model, "dog.jpg", "occlusion", baseline="in-filled")
    """
    BASELINES[name] = make


def check_baseline(name: str) -> str:
    """Return the name if a baseline has it, else raise Unknown."""
    if name not in BASELINES:
        raise Unknown("baseline", name, BASELINES, hint=f"there are {', '.join(BASELINES)}")
    return name


def baseline(
    name: str, model: Model, pixels: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch channels height width"]:
    """Return the baseline of each picture, in [0, 1].

    "mean" is the colour that the model's normalisation maps to zero: the zero baseline of
    libraries that work on normalised tensors. "blur" keeps the coarse colours of the picture,
    "noise" is the same uniform noise for all pictures.
    """
    made = BASELINES[check_baseline(name)](model, pixels.detach())
    if made.shape != pixels.shape:
        raise SeewhyError(
            f"baseline {name} must have the shape of the pictures, {tuple(pixels.shape)}, not "
            f"{tuple(made.shape)}"
        )
    return made.to(pixels)
