"""Weighted sums of gradients at points near the picture, or on the path to it.

    sum_k weights[k] * gradient of the explained score at the pixels point(k)

SmoothGrad's points are noisy copies; those of integrated gradients lie on a straight line.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.engine.recording import Recording
from seewhy.engine.runners import InstrumentedRunner
from seewhy.support.batching import BatchSizer


def summed_gradient(
    recording: Recording, point: Callable[[int], Tensor], weights: Float[Tensor, " points"]
) -> Float[Tensor, "batch channels height width"]:
    """Return the sum, from as few forward passes as the batch size allows."""
    pixels, settings = recording.pixels, recording.settings
    # In half precision, small terms would be rounded away in the sum.
    wide = torch.promote_types(pixels.dtype, torch.float32)
    total = torch.zeros_like(pixels, dtype=wide, requires_grad=False)
    full = settings.precision == "full"
    runner = recording.variants() if full else InstrumentedRunner(recording.forward, recording.cost)
    sizer = BatchSizer(settings, total, recorded=True)

    def gradient(numbers: slice) -> Tensor:
        points = torch.cat([point(k) for k in range(numbers.start, numbers.stop)])
        points = points.detach().requires_grad_()
        score = recording.asked.of(runner.outputs(runner.prepared(points))).sum()
        return torch.autograd.grad(score, points)[0]

    done = 0
    for part in sizer.parts(len(weights), gradient, members=len(pixels)):
        terms = part.to(wide).unflatten(0, (-1, len(pixels)))
        weight = weights[done : done + len(terms)].to(total)
        total += torch.einsum("k,k...->...", weight, terms)
        recording.cost.ran(backwards=len(terms))
        done += len(terms)
        if settings.progress:
            settings.progress(done, len(weights))
    if sizer.note:
        recording.notes.append(sizer.note)
    return total
