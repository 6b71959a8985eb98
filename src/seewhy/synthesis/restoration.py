"""Restore a picture with an untrained network as the prior: nothing is learned from other pictures.

    seewhy.inpaint("dog.jpg", mask="hole.png").save("filled.png")
    seewhy.denoise("noisy.jpg")
    seewhy.upscale("small.png", 4)

    inpaint   min over weights of  |visible * (net(z) - picture)|^2
    denoise                        |net(z) - picture|^2, stopped before the noise is fitted
    upscale                        |down(net(z)) - picture|^2

The network fits what is regular in the picture before what is not. Its input z is fixed noise, to
which each step adds a little more; the result is the running mean of its outputs. For `inpaint`,
the network learns what a smooth fill of the holes misses instead, see `hole_filling`.

Ulyanov, Vedaldi, Lempitsky, Deep Image Prior, CVPR 2018, arXiv 1711.10925. Denoising stops where
the variance of the last outputs is smallest, without knowing the truth: Wang et al. 2021, Early
Stopping for Deep Image Prior, arXiv 2112.06074.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.images import Picture, as_picture
from seewhy.results import Result
from seewhy.support.settings import LARGEST_SEED
from seewhy.synthesis.adam import Adam
from seewhy.synthesis.deep_image_prior import DeepImagePrior
from seewhy.synthesis.hole_filling import SLOWEST, learned_fill
from seewhy.synthesis.parametrisations import Size

INPAINT_STEPS, DENOISE_STEPS, UPSCALE_STEPS = 200, 1500, 1500
INPUT_NOISE = 0.03  # standard deviation of the noise that each step adds to the input
AVERAGE = 0.98  # weight of the earlier outputs in the running mean
WINDOW, PATIENCE, SAMPLED = 32, 200, 4  # outputs in the variance; steps until it is trusted; every
LONGEST = 512  # pixels of the longer side, by default
PRIOR = DeepImagePrior()
FILLING = DeepImagePrior(channels=(48, 48, 48), skips=32, rate=0.003)

Report = Callable[[str, float], None]
Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Restoration(Result):
    """A restored picture.

    - `task`: "inpaint", "denoise" or "upscale". - `given`: the picture that was restored; of
    `inpaint` with grey where it is hidden. - `restored`: in [0, 1]. - `hidden`: 1 where the picture
    was filled in; None for other tasks. - `loss`: the mean squared error of what is visible, by
    step. - `best`: the step whose picture is returned. - `seed`, `notes`: as in other results.
    """

    task: str
    source: str
    given: Float[Tensor, "c h w"]
    restored: Float[Tensor, "c H W"]
    hidden: Float[Tensor, "1 h w"] | None
    loss: Float[Tensor, " steps"]
    best: int
    seed: int = 0
    notes: tuple[str, ...] = ()


def inpaint(
    picture: Any,
    mask: Any,
    *,
    steps: int = INPAINT_STEPS,
    longest: int = LONGEST,
    prior: DeepImagePrior | None = None,
    from_visible: bool = True,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Report | None = None,
) -> Restoration:
    """Fill in what a mask hides; visible pixels stay exactly as they are.

    - `picture`: a file, an image or a tensor. - `mask`: the same; bright where the picture is
    hidden. - `longest`: a picture with a longer side is reduced to it first. - `from_visible`: the
    network starts from a smooth fill of the visible pixels; otherwise its input is noise, as in the
    first paper, which needs more steps (several thousand).

    Raises SeewhyError if the sizes differ, if nothing or everything is hidden, and for invalid
    values.
    """
    loaded, notes = _loaded(picture, longest)
    hidden = _hidden(mask, as_picture(picture).pixels, loaded)
    visible = (1 - hidden)[None].to(device)
    pixels = loaded.pixels[None].to(device)
    _check(steps, seed)
    if from_visible:
        with torch.inference_mode(False), torch.enable_grad():
            made, losses = learned_fill(
                replace(prior or FILLING, inputs=pixels.shape[1] + 1), pixels, visible, steps, seed,
                lambda share: progress("inpaint", share) if progress else None,
            )  # fmt: skip
        made, best = made[0].clamp(0, 1).cpu(), steps
    else:
        count = visible.sum() * pixels.shape[1]

        def loss(made: Tensor) -> Tensor:
            return (visible * (made - pixels)).pow(2).sum() / count

        made, losses, best = _fitted(
            prior or PRIOR, loss, _size(pixels), device, steps, seed, "inpaint", progress
        )
    restored = torch.where(hidden > 0, made, loaded.pixels)
    given = torch.where(hidden > 0, 0.5, loaded.pixels)
    return Restoration("inpaint", loaded.source, given, restored, hidden, losses, best, seed, notes)


def denoise(
    picture: Any,
    *,
    steps: int = DENOISE_STEPS,
    longest: int = LONGEST,
    prior: DeepImagePrior = PRIOR,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Report | None = None,
) -> Restoration:
    """Remove noise; the step to stop at is found without the truth. `steps`: at most so many.

    Raises SeewhyError for a picture that cannot be read, and for invalid values.
    """
    loaded, notes = _loaded(picture, longest)
    pixels = loaded.pixels[None].to(device)

    def loss(made: Tensor) -> Tensor:
        return (made - pixels).pow(2).mean()

    made, losses, best = _fitted(
        prior, loss, _size(pixels), device, steps, seed, "denoise", progress, stopping=True
    )
    if best >= len(losses):
        notes = (*notes, "the variance was still falling at the last step; give it more steps")
    return Restoration(
        "denoise", loaded.source, loaded.pixels, made, None, losses, best, seed, notes
    )


def upscale(
    picture: Any,
    factor: int,
    *,
    steps: int = UPSCALE_STEPS,
    longest: int = LONGEST,
    prior: DeepImagePrior = PRIOR,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Report | None = None,
) -> Restoration:
    """Enlarge a picture; reduced again by the same factor, with antialiasing, it is the given one.

    - `longest`: of the result; a larger result is refused.

    Raises SeewhyError for a factor below 2, and for invalid values.
    """
    if not (isinstance(factor, int) and factor >= 2):
        raise SeewhyError(f"the factor must be a whole number, at least 2, not {factor!r}")
    loaded = as_picture(picture)
    pixels = loaded.pixels[None].to(device)
    size = (pixels.shape[1], factor * pixels.shape[2], factor * pixels.shape[3])
    if max(size[1:]) > longest:
        raise SeewhyError(
            f"the result would have {size[1]} x {size[2]} pixels; allow more with longest, or give "
            "a smaller picture"
        )

    def loss(made: Tensor) -> Tensor:
        down = F.interpolate(
            made, pixels.shape[2:], mode="bicubic", antialias=True, align_corners=False
        )
        return (down - pixels).pow(2).mean()

    made, losses, best = _fitted(prior, loss, size, device, steps, seed, "upscale", progress)
    return Restoration("upscale", loaded.source, loaded.pixels, made, None, losses, best, seed)


def _fitted(
    prior: DeepImagePrior,
    loss: Loss,
    size: Size,
    device: str | torch.device,
    steps: int,
    seed: int,
    name: str,
    progress: Report | None,
    stopping: bool = False,
) -> tuple[Float[Tensor, "c h w"], Float[Tensor, " steps"], int]:
    """Return the running mean of the network's outputs, the loss by step, and the step returned."""
    _check(steps, seed)
    parameters = [p.to(device) for p in prior.start(size, [seed])]
    adam, row = Adam(parameters, prior.rate), torch.tensor([0])
    generator = torch.Generator().manual_seed(seed)
    fixed = prior.noise(size)
    mean = torch.zeros(1, *size, device=device)
    losses: list[Tensor] = []
    stop = _Stopping() if stopping else None
    with torch.inference_mode(False), torch.enable_grad():
        for step in range(1, steps + 1):
            leaves = [p.requires_grad_() for p in parameters]
            noise = fixed + INPUT_NOISE * torch.randn(fixed.shape, generator=generator)
            made = prior.from_noise(leaves, noise, size)
            error = loss(made)
            gradients = torch.autograd.grad(error, leaves)
            parameters = [p.detach() for p in leaves]
            if not stopping:  # which relies on the noise of the last outputs
                adam.rate = prior.rate * max(SLOWEST, (1 + math.cos(math.pi * step / steps)) / 2)
            adam.step(parameters, gradients, row)
            losses.append(error.detach())
            mean = AVERAGE * mean + (1 - AVERAGE) * made.detach()
            if progress:
                progress(name, step / steps)
            if stop is not None and step % SAMPLED == 0:
                corrected = mean / (1 - AVERAGE**step)
                if stop.after(step, made.detach(), corrected):
                    break
    last = len(losses)
    found, best = mean / (1 - AVERAGE**last), last
    if stop is not None and stop.picture is not None:
        found, best = stop.picture, stop.step
    return found[0].clamp(0, 1).cpu(), torch.stack(losses).float().cpu(), best


def _check(steps: int, seed: int) -> None:
    if not (isinstance(steps, int) and steps >= 1):
        raise SeewhyError(f"steps must be a whole number, at least 1, not {steps!r}")
    if not 0 <= seed <= LARGEST_SEED:
        raise SeewhyError(f"the seed must be from 0 to {LARGEST_SEED}, not {seed}")


class _Stopping:
    """Keeps the picture at which the variance of the last outputs was smallest."""

    def __init__(self) -> None:
        self._last: list[Tensor] = []
        self._smallest = torch.inf
        self.picture: Tensor | None = None
        self.step = 0

    def after(self, step: int, made: Tensor, mean: Tensor) -> bool:
        """Look at an output; return whether the variance has risen for long enough to stop."""
        self._last = [*self._last[1 - WINDOW :], made]
        if len(self._last) < WINDOW:
            return False
        variance = float(torch.stack(self._last).var(0).mean())
        if variance < self._smallest:
            self._smallest, self.step, self.picture = variance, step, mean
        return step - self.step >= PATIENCE


def _loaded(picture: Any, longest: int) -> tuple[Picture, tuple[str, ...]]:
    """Return a picture that is not larger than allowed, and a note if it was reduced."""
    if not (isinstance(longest, int) and longest >= 16):
        raise SeewhyError(f"longest must be a whole number, at least 16, not {longest!r}")
    loaded = as_picture(picture)
    height, width = loaded.pixels.shape[1:]
    if max(height, width) <= longest:
        return loaded, ()
    share = longest / max(height, width)
    size = (max(1, round(height * share)), max(1, round(width * share)))
    pixels = F.interpolate(
        loaded.pixels[None], size, mode="bilinear", antialias=True, align_corners=False
    )[0]
    note = f"reduced from {height} x {width} to {size[0]} x {size[1]} pixels"
    return Picture(pixels, loaded.source, loaded.notes), (note,)


def _hidden(mask: Any, original: Tensor, loaded: Picture) -> Float[Tensor, "1 h w"]:
    """Return 1 where the mask is bright, at the size of the loaded picture."""
    pixels = as_picture(mask).pixels
    if pixels.shape[1:] != original.shape[1:]:
        raise SeewhyError(
            f"the mask has {pixels.shape[1]} x {pixels.shape[2]} pixels, the picture "
            f"{original.shape[1]} x {original.shape[2]}; make them equal"
        )
    hidden = (pixels.mean(0, keepdim=True) > 0.5).float()
    if hidden.shape[1:] != loaded.pixels.shape[1:]:
        # A reduced pixel is hidden if any part of it is.
        hidden = F.adaptive_max_pool2d(hidden, tuple(loaded.pixels.shape[1:]))
    if not bool(hidden.any()) or bool(hidden.all()):
        what = "everything" if bool(hidden.any()) else "nothing"
        raise SeewhyError(f"the mask hides {what}; make it white where the picture is to be filled")
    return hidden


def _size(pixels: Tensor) -> Size:
    return (pixels.shape[1], pixels.shape[2], pixels.shape[3])
