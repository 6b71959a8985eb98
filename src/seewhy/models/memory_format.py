"""Choose the memory format of a network by trial, and detect networks that mix pictures.

Convolutions are up to twice as fast channels-last, but a network may depend on the memory format of
its feature maps (by `view`, `as_strided` or a kernel of its own), and its backward pass may as
well. So a picture is run alone and contiguous, and beside another one channels-last: its logits and
its pixel gradient must be the same, and its logits must not depend on the other picture's pixels.
Otherwise a third run tells which of the two, format or batch, makes the difference.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.support.batch_norm import keep_layout

CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last

# Of the largest logit and of the gradient's norm: less is rounding, which may switch rectifiers, so
# gradients differ more than logits. In half precision: steps of the type.
LOGITS, GRADIENT, STEPS = 1e-2, 0.05, 20
LEAK = 1e-3  # of the gradient's norm, at another picture's pixels, where it should be exactly zero

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
    """The logits of one run, and the gradient of the first picture's largest logit.

    None if the run failed, or if the network has no gradient.
    """

    logits: Float[Tensor, "batch classes"] | None = None
    gradient: Float[Tensor, "batch channels height width"] | None = None
    ends_in: str | None = None

    @property
    def first(self) -> "_Passes":
        """Those of the first picture."""
        gradient = None if self.gradient is None else self.gradient[:1]
        return replace(
            self, logits=None if self.logits is None else self.logits[:1], gradient=gradient
        )

    @property
    def leaks(self) -> bool:
        """Whether the first picture's logit has a gradient at another picture's pixels."""
        if self.gradient is None:
            return False
        own, others = (part.float().norm() for part in (self.gradient[:1], self.gradient[1:]))
        return bool(others > LEAK * own)


def probes(shape: torch.Size, like: Tensor) -> Float[Tensor, "2 channels height width"]:
    """Two noise pictures of different contrast, so that their batch statistics differ.

    Noise has no equal neighbours, so rounding cannot decide between equal maxima of a pool.
    """
    noise = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    noise[1] *= 0.25
    return noise.to(like)


def try_formats(run: Run, pictures: Float[Tensor, "2 channels height width"]) -> Trial:
    """Run the network on the first picture alone, and on both channels-last.

    To be called while the network is borrowed. A network that fails is contiguous; its next forward
    pass reports the error.
    """
    alone, fast = _run(run, pictures[:1], CONTIGUOUS), _run(run, pictures, CHANNELS_LAST)
    if not fast.leaks and _agree(fast.first, alone):
        return Trial(CHANNELS_LAST, fast.ends_in)
    pair = _run(run, pictures, CONTIGUOUS)
    memory_format = CHANNELS_LAST if _agree(fast, pair) else CONTIGUOUS
    mixes = pair.leaks or (_is_known(alone, pair) and not _alike(pair.first.logits, alone.logits))
    # A random network has other logits for the same picture, too.
    mixes = mixes and _alike(_run(run, pictures[:1], CONTIGUOUS).logits, alone.logits)
    return Trial(memory_format, pair.ends_in or alone.ends_in, mixes)


def _run(run: Run, pictures: Tensor, form: torch.memory_format) -> _Passes:
    """Logits and gradient; the logits alone where the backward pass fails."""
    try:
        with torch.enable_grad():
            pixels = pictures.clone().requires_grad_()
            logits, ends_in = run(pixels, form)
            score = keep_layout(logits)[0].max()
            (gradient,) = torch.autograd.grad(score, pixels)
        return _Passes(logits.detach(), gradient, ends_in)
    except Exception:
        pass  # and its graph is released
    try:
        with torch.no_grad():
            logits, ends_in = run(pictures, form)
    except Exception:
        return _Passes()
    return _Passes(logits, None, ends_in)


def _agree(fast: _Passes, plain: _Passes) -> bool:
    """Return whether logits and gradients are equal up to rounding."""
    if plain.logits is None or not _alike(fast.logits, plain.logits):
        return False
    if fast.gradient is None or plain.gradient is None:
        return fast.gradient is plain.gradient
    if not torch.equal(fast.gradient.isfinite(), plain.gradient.isfinite()):
        return False
    one, other = (g.float().nan_to_num(0, 0, 0) for g in (fast.gradient, plain.gradient))
    rounding = max(GRADIENT, STEPS * torch.finfo(plain.logits.dtype).eps)
    return bool((one - other).norm() <= rounding * other.norm())


def _is_known(*runs: _Passes) -> bool:
    return all(run.logits is not None for run in runs)


def _alike(values: Tensor | None, expected: Tensor | None) -> bool:
    """Return whether two tensors are equal up to rounding, with NaN at the same positions."""
    if values is None or expected is None or values.shape != expected.shape:
        return False
    scale = float(expected.abs().nan_to_num().max()) if expected.numel() else 0.0
    share = max(LOGITS, STEPS * torch.finfo(expected.dtype).eps)
    return torch.allclose(values, expected, rtol=share, atol=share * scale, equal_nan=True)
