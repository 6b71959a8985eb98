"""Many small optimisations in one batch: each has its own clock, and its place is refilled."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.engine.recording import Recording
from seewhy.errors import SeewhyError
from seewhy.support.batching import BatchSizer

SMALL = 1e-5  # gradients below it are rounding, and are not followed at full rate
SETTLED, EVERY = 2e-3, 10  # a lattice that moves less, over as many steps, has converged


class MaskObjective(ABC):
    """One lattice in [0, 1] to be learned for each of `count` questions about pictures.

    Slots, their numbers and their steps are kept on the CPU, so that nothing waits for a GPU.
    - `steps`: at most. - `least`: steps before a lattice may be called settled; None: all.
    """

    count: int
    shape: tuple[int, int]
    steps: int
    least: int | None = None

    @abstractmethod
    def losses(
        self,
        slots: Int[Tensor, " slots"],
        lattices: Float[Tensor, "slots rows columns"],
        step: Int[Tensor, " slots"],
    ) -> Float[Tensor, " slots"]:
        """What is to be small; differentiable, and of each lattice alone."""


class Optimiser(ABC):
    """How a lattice follows its gradient. `state` holds two lattices for each slot."""

    @abstractmethod
    def move(self, lattices: Tensor, gradient: Tensor, state: Tensor, step: Tensor) -> Tensor:
        """The new lattices; the state is changed in place."""


class Momentum(Optimiser):
    """Gradient descent as published: momentum 0.9, dampening 0.9."""

    def __init__(self, rate: float = 0.01, momentum: float = 0.9, dampening: float = 0.9):
        self.rate, self.momentum, self.dampening = rate, momentum, dampening

    def move(self, lattices: Tensor, gradient: Tensor, state: Tensor, step: Tensor) -> Tensor:
        """The first step takes the gradient whole."""
        moved = self.momentum * state[:, 0] + (1 - self.dampening) * gradient
        first = (step == 0).to(gradient.device)[:, None, None]
        state[:, 0] = torch.where(first, gradient, moved)
        return lattices - self.rate * state[:, 0]


class Adam(Optimiser):
    """Kingma, Ba 2014, arXiv 1412.6980; the rate falls to a tenth at the end."""

    def __init__(self, rate: float, steps: int):
        self.rate, self.steps = rate, steps

    def move(self, lattices: Tensor, gradient: Tensor, state: Tensor, step: Tensor) -> Tensor:
        """Means of the gradient and its square, unbiased."""
        state[:, 0] = 0.9 * state[:, 0] + 0.1 * gradient
        state[:, 1] = 0.99 * state[:, 1] + 0.01 * gradient**2
        t = (step + 1).to(lattices)[:, None, None]
        mean, square = state[:, 0] / (1 - 0.9**t), state[:, 1] / (1 - 0.99**t)
        rate = self.rate * 0.1 ** ((t - 1) / self.steps)
        return lattices - rate * mean / (square.sqrt() + SMALL)


def optimise(
    recording: Recording,
    problem: MaskObjective,
    optimiser: Optimiser,
    start: Float[Tensor, "slots rows columns"],
    sizer: BatchSizer,
) -> tuple[Float[Tensor, "slots rows columns"], Int[Tensor, " slots"]]:
    """The lattices as they were before their last step, and the steps that each took."""
    settings = recording.settings
    lattices = start.clone()
    before, snapshot = lattices.clone(), lattices.clone()
    state = lattices.new_zeros(problem.count, 2, *problem.shape)
    step = torch.zeros(problem.count, dtype=torch.long)
    waiting = torch.ones(problem.count, dtype=torch.bool)
    while bool(waiting.any()):
        slots = waiting.nonzero()[: sizer.together, 0]
        gradient = gradients(
            recording, sizer, lambda some, of: problem.losses(some, of, step[some]), slots,
            lattices[slots],
        )  # fmt: skip
        before[slots] = lattices[slots]
        kept = state[slots]
        lattices[slots] = optimiser.move(lattices[slots], gradient, kept, step[slots]).clamp(0, 1)
        state[slots] = kept
        step[slots] += 1
        waiting[slots] = step[slots] < problem.steps
        if problem.least is not None:
            checked = slots[step[slots] % EVERY == 0]
            moved = (lattices[checked] - snapshot[checked]).abs().mean((1, 2))
            waiting[checked] &= (moved > SETTLED).cpu() | (step[checked] < problem.least)
            snapshot[checked] = lattices[checked]
        if settings.progress:
            done = int(torch.where(waiting, step, problem.steps).sum())
            settings.progress(done, problem.count * problem.steps)
    if not bool(before.isfinite().all()):
        raise SeewhyError(
            f"{recording.model.name} gave NaN or infinite scores, or gradients of them, to "
            "pictures behind masks; try precision full, or another baseline"
        )
    if sizer.note:
        recording.notes.append(sizer.note)
    return before, step


def gradients(
    recording: Recording,
    sizer: BatchSizer,
    losses: Callable[[Tensor, Tensor], Tensor],
    slots: Int[Tensor, " slots"],
    lattices: Float[Tensor, "slots rows columns"],
) -> Float[Tensor, "slots rows columns"]:
    """Of each slot's loss by its lattice; as many slots together as memory holds."""

    def pulled(some: slice) -> Tensor:
        leaves = lattices[some].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(losses(slots[some], leaves).sum(), leaves)
        recording.cost.ran(backwards=len(leaves) / len(recording.pixels))
        return gradient

    return torch.cat(list(sizer.parts(len(slots), pulled)))
