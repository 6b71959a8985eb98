"""Choose the memory format of a network by trial, and detect networks that mix pictures.

Convolutions are up to twice as fast channels-last, but a network may depend on the memory format of
its feature maps (by `view`, `as_strided` or a kernel of its own), and its backward pass may as
well. A picture alone is run in both formats; logits and pixel gradients must be equal. The same
picture beside another one must have the same logits, otherwise pictures are explained one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.support.batch_norm import keep_layout

CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last

# Of the largest logit and of the gradient's norm: less is rounding, which may switch rectifiers, so
# gradients differ more than logits. In half precision: steps of the type.
LOGITS, GRADIENT, STEPS = 1e-2, 0.05, 20

# Runs the network on pixels in a memory format; returns logits, and the name of its last function.
Run = Callable[[Tensor, torch.memory_format], tuple[Tensor, str | None]]


@dataclass(frozen=True)
class Trial:
    """What the trial found.

    - `memory_format`: the one to use. `ends_in`: the softmax or sigmoid that the network ends in.
    - `mixes_pictures`: whether the logits of a picture depend on the others in its batch.
    """

    memory_format: torch.memory_format
    ends_in: str | None = None
    mixes_pictures: bool = False


@dataclass(frozen=True)
class _Passes:
    """The logits of one run, and the gradient of the largest logit; None if the run failed."""

    logits: Float[Tensor, "batch classes"] | None = None
    gradient: Float[Tensor, "1 channels height width"] | None = None
    ends_in: str | None = None


def probes(shape: torch.Size, like: Tensor) -> Float[Tensor, "2 channels height width"]:
    """Two noise pictures of different contrast, so that their batch statistics differ.

    Noise has no equal neighbours, so rounding cannot decide between equal maxima of a pool.
    """
    noise = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    noise[1] *= 0.25
    return noise.to(like)


def try_formats(run: Run, pictures: Float[Tensor, "2 channels height width"]) -> Trial:
    """Run the network on the first picture, alone and beside the second one, in both formats.

    To be called while the network is borrowed. A network that fails is contiguous; its next forward
    pass reports the error.
    """
    alone, alone_fast = (_differentiated(run, pictures[:1], f) for f in (CONTIGUOUS, CHANNELS_LAST))
    pair_fast = _forward(run, pictures, CHANNELS_LAST)
    same = _agree(alone_fast, alone)
    if same and _beside_as_alone(pair_fast, alone):
        return Trial(CHANNELS_LAST, pair_fast.ends_in)
    pair = _forward(run, pictures, CONTIGUOUS)
    # A network that takes only batches of one size may not run on a single picture at all.
    fast = same if alone.logits is not None else True
    fast = fast and _alike(pair_fast.logits, pair.logits)
    mixes = _is_known(alone, pair) and not _beside_as_alone(pair, alone)
    if mixes:  # unless the network is random
        mixes = _alike(_forward(run, pictures[:1], CONTIGUOUS).logits, alone.logits)
    return Trial(CHANNELS_LAST if fast else CONTIGUOUS, pair.ends_in or alone.ends_in, mixes)


def _forward(run: Run, pictures: Tensor, form: torch.memory_format) -> _Passes:
    try:
        with torch.no_grad():
            logits, ends_in = run(pictures, form)
    except Exception:
        return _Passes()
    return _Passes(logits, None, ends_in)


def _differentiated(run: Run, picture: Tensor, form: torch.memory_format) -> _Passes:
    """The logits with the pixel gradient; without it where the network has none."""
    try:
        with torch.enable_grad():
            pixels = picture.clone().requires_grad_()
            logits, ends_in = run(pixels, form)
            (gradient,) = torch.autograd.grad(keep_layout(logits).max(), pixels)
    except Exception:
        return _forward(run, picture, form)
    return _Passes(logits.detach(), gradient, ends_in)


def _agree(fast: _Passes, plain: _Passes) -> bool:
    """Return whether logits and gradients are equal up to rounding."""
    if plain.logits is None or not _alike(fast.logits, plain.logits):
        return False
    if fast.gradient is None or plain.gradient is None:
        return fast.gradient is plain.gradient
    difference = (fast.gradient - plain.gradient).float().norm()
    rounding = max(GRADIENT, STEPS * torch.finfo(plain.logits.dtype).eps)
    return not bool(difference > rounding * plain.gradient.float().norm())


def _beside_as_alone(pair: _Passes, alone: _Passes) -> bool:
    return pair.logits is not None and _alike(pair.logits[:1], alone.logits)


def _is_known(*runs: _Passes) -> bool:
    return all(run.logits is not None for run in runs)


def _alike(values: Tensor | None, expected: Tensor | None) -> bool:
    """Return whether two tensors are equal up to rounding, with NaN at the same positions."""
    if values is None or expected is None or values.shape != expected.shape:
        return False
    scale = float(expected.abs().nan_to_num().max()) if expected.numel() else 0.0
    share = max(LOGITS, STEPS * torch.finfo(expected.dtype).eps)
    return torch.allclose(values, expected, rtol=share, atol=share * scale, equal_nan=True)
