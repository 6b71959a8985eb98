"""Samples from a posterior over pictures, by Langevin dynamics with the Metropolis test.

    log p(z | target)  =  score(picture(z)) / temperature  -  penalty(z)  +  constant
    proposal           z' = z + step * grad log p(z) + sqrt(2 step) * noise

A proposal is accepted with the Metropolis-Hastings probability, so that the samples are of this
density whatever the step; each row of a batch is a chain of its own, with its own step, which is
adapted during the warm-up only.

Roberts, Tweedie 1996, Exponential convergence of Langevin distributions and their discrete
approximations (MALA); Nguyen et al. 2017, Plug & Play Generative Networks, arXiv 1612.00005.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError

WANTED = 0.57  # acceptance at which the Metropolis-adjusted Langevin algorithm mixes fastest
ADAPT = 0.05  # how fast the logarithm of the step follows the acceptance during the warm-up

Density = Callable[[Float[Tensor, "rows numbers"]], Float[Tensor, " rows"]]


@dataclass(frozen=True, eq=False)
class Chains:
    """Samples after the warm-up, and the fraction of accepted proposals of each chain."""

    samples: Float[Tensor, "samples rows numbers"]
    accepted: Float[Tensor, " rows"]
    steps: Float[Tensor, " rows"]


def sample(
    log_density: Density,
    start: Float[Tensor, "rows numbers"],
    seeds: Sequence[int],
    *,
    warm_up: int,
    count: int,
    every: int = 1,
    step: float = 0.01,
    tell: Callable[[int, int], None] | None = None,
) -> Chains:
    """Return `count` samples of each chain, `every` steps apart, after `warm_up` steps.

    - `log_density`: up to a constant, of each row on its own; differentiable. - `start`: one row
    for each chain. - `seeds`: one for each chain. - `step`: at the start of the warm-up.

    Raises SeewhyError if the density is not finite at the start.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    z = start.detach().clone()
    steps = torch.full((len(z),), step, dtype=z.dtype, device=z.device)
    density, gradient = _evaluated(log_density, z)
    if not bool(density.isfinite().all()):
        raise SeewhyError("the density is not finite at the start; use a higher temperature")
    kept, accepted = [], torch.zeros(len(z), dtype=z.dtype, device=z.device)
    total = warm_up + count * every
    for number in range(total):
        noise = torch.stack([torch.randn(z.shape[1:], generator=g) for g in generators]).to(z)
        size = steps[:, None]
        proposal = z + size * gradient + (2 * size).sqrt() * noise
        new_density, new_gradient = _evaluated(log_density, proposal)
        ratio = new_density - density
        ratio = ratio + _log_kernel(z, proposal, new_gradient, size)
        ratio = ratio - _log_kernel(proposal, z, gradient, size)
        uniform = torch.stack([torch.rand((), generator=g) for g in generators]).to(z)
        probability = ratio.nan_to_num(-torch.inf).exp().clamp(max=1)
        yes = uniform < probability
        z = torch.where(yes[:, None], proposal, z)
        gradient = torch.where(yes[:, None], new_gradient, gradient)
        density = torch.where(yes, new_density, density)
        if number < warm_up:
            steps = steps * (ADAPT * (probability - WANTED)).exp()
        else:
            accepted = accepted + yes.to(z)
            if (number - warm_up) % every == every - 1:
                kept.append(z)
        if tell:
            tell(number + 1, total)
    return Chains(torch.stack(kept), accepted / (count * every), steps)


def _evaluated(log_density: Density, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the density and its gradient, of each row."""
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        density = log_density(leaf)
        (gradient,) = torch.autograd.grad(density.sum(), leaf)
    return density.detach(), gradient


def _log_kernel(to: Tensor, start: Tensor, gradient: Tensor, size: Tensor) -> Tensor:
    """Return the log density of a proposal from `start` to `to`, up to a constant."""
    return -(to - start - size * gradient).pow(2).sum(1) / (4 * size[:, 0])
