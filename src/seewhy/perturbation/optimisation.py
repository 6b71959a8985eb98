"""Many small optimisations in one batch; each counts its own steps, finished ones are replaced."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.engine.recording import Recording
from seewhy.errors import SeewhyError
from seewhy.support.batching import BatchSizer

SMALL = 1e-5  # gradients below this are mostly rounding errors and get smaller steps
SETTLED, EVERY = 2e-3, 10  # a lattice that moves less than this in so many steps has converged


class MaskObjective(ABC):
    """The loss of `count` lattices in [0, 1], which are optimised independently.

    A slot is the index of a lattice. Slots and steps are kept on the CPU, so that no GPU
    synchronisation is needed.

    - `steps`: the largest number of steps. - `least`: steps before a lattice may count as
    converged; None: no early stop.
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
        """Return the loss of each lattice, differentiable and independent of the other lattices."""


class Optimiser(ABC):
    """The update rule of the lattices. `state` holds two lattices for each slot."""

    @abstractmethod
    def move(self, lattices: Tensor, gradient: Tensor, state: Tensor, step: Tensor) -> Tensor:
        """Return the new lattices; the state is updated in place."""


class Momentum(Optimiser):
    """Gradient descent with momentum 0.9 and dampening 0.9, as published."""

    def __init__(self, rate: float = 0.01, momentum: float = 0.9, dampening: float = 0.9):
        self.rate, self.momentum, self.dampening = rate, momentum, dampening

    def move(self, lattices: Tensor, gradient: Tensor, state: Tensor, step: Tensor) -> Tensor:
        """Return the new lattices; the first step uses the gradient without dampening."""
        moved = self.momentum * state[:, 0] + (1 - self.dampening) * gradient
        first = (step == 0).to(gradient.device)[:, None, None]
        state[:, 0] = torch.where(first, gradient, moved)
        return lattices - self.rate * state[:, 0]


class Adam(Optimiser):
    """Adam (Kingma, Ba 2014, arXiv 1412.6980) whose learning rate decays to a tenth at the end."""

    def __init__(self, rate: float, steps: int):
        self.rate, self.steps = rate, steps

    def move(self, lattices: Tensor, gradient: Tensor, state: Tensor, step: Tensor) -> Tensor:
        """Return the new lattices, from unbiased means of the gradient and of its square."""
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
    """Return the lattices before their last step, and the number of steps of each."""
    settings = recording.settings
    lattices = start.clone()
    before, snapshot = lattices.clone(), lattices.clone()
    state = lattices.new_zeros(problem.count, 2, *problem.shape)
    step = torch.zeros(problem.count, dtype=torch.long)
    waiting = torch.ones(problem.count, dtype=torch.bool)
    while bool(waiting.any()):
        slots = waiting.nonzero()[: sizer.together, 0]
        gradient = gradients(
            recording, sizer, lambda part, values: problem.losses(part, values, step[part]), slots,
            lattices[slots],
        )  # fmt: skip
        before[slots] = lattices[slots]
        of_slots = state[slots]
        moved = optimiser.move(lattices[slots], gradient, of_slots, step[slots])
        lattices[slots], state[slots] = moved.clamp(0, 1), of_slots
        step[slots] += 1
        waiting[slots] = step[slots] < problem.steps
        if problem.least is not None:
            checked = slots[step[slots] % EVERY == 0]
            change = (lattices[checked] - snapshot[checked]).abs().mean((1, 2))
            waiting[checked] &= (change > SETTLED).cpu() | (step[checked] < problem.least)
            snapshot[checked] = lattices[checked]
        if settings.progress:
            done = int(torch.where(waiting, step, problem.steps).sum())
            settings.progress(done, problem.count * problem.steps)
    if not bool(before.isfinite().all()):
        raise SeewhyError(
            f"{recording.model.name} gave NaN or infinite scores or gradients on masked pictures; "
            "try precision full, or another baseline"
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
    """Return the gradient of each slot's loss with respect to its lattice, in fitting batches."""

    def gradient_of(part: slice) -> Tensor:
        leaves = lattices[part].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(losses(slots[part], leaves).sum(), leaves)
        recording.cost.ran(backwards=len(leaves) / len(recording.pixels))
        return gradient

    return torch.cat(list(sizer.parts(len(slots), gradient_of)))
