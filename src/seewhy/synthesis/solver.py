"""Optimise pictures: many in one batch, each for a target of its own and independent of the others.

A picture that has converged gives its place in the batch to the next one waiting.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.autodiff.tape import Tape
from seewhy.errors import SeewhyError, TooLarge
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.support.batching import BatchSizer
from seewhy.support.settings import Settings
from seewhy.synthesis.adam import Adam
from seewhy.synthesis.constraints import Constraint
from seewhy.synthesis.normalised_gradient import NormalisedGradient
from seewhy.synthesis.objective import Objective
from seewhy.synthesis.parametrisations import Parametrisation, Pixels, Size
from seewhy.synthesis.penalties import Penalty, penalty
from seewhy.synthesis.redirected import REDIRECTED
from seewhy.synthesis.transforms import NONE, Transforms
from seewhy.synthesis.transparency import Transparent, over_backgrounds

CROWDED = 3  # times the area of a picture, which limits how many share a step on a CPU
CHECKED_EVERY, SMOOTH = 32, 0.9  # steps between checks for convergence; smoothing of the score
STREAM = 0x5EED  # separates the random numbers of transforms from those of the start


@dataclass(frozen=True)
class Recipe:
    """How pictures are synthesised.

    - `steps`: the largest number of steps. - `tolerance`: a picture has converged when its smoothed
    score rises by less than this fraction in 32 steps; 0: all steps are made. - `rate`: the
    learning rate; None: that of the parametrisation.

    Raises SeewhyError for invalid numbers, and for constraints without free pixels.
    """

    parametrisation: Parametrisation
    transforms: Transforms = NONE
    penalties: tuple[Penalty, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    steps: int = 256
    tolerance: float = 0.0
    rate: float | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.steps, int) and self.steps >= 1):
            raise SeewhyError(f"steps must be a whole number, at least 1, not {self.steps!r}")
        if not 0 <= self.tolerance < 1:
            raise SeewhyError(f"tolerance must be from 0 to below 1, not {self.tolerance}")
        free = isinstance(self.parametrisation, Pixels) and not self.parametrisation.squash
        if self.constraints and not free:
            raise SeewhyError(
                "constraints apply to pixels themselves; use the parametrisation "
                "Pixels(squash=False)"
            )


@dataclass(frozen=True, eq=False)
class Solution:
    """The pictures, in [0, 1], their number of steps, and the mean score of their last views."""

    pictures: Float[Tensor, "count c h w"]
    steps: Int[Tensor, " count"]
    scores: Float[Tensor, " count"]
    notes: tuple[str, ...] = ()


def solve(
    model: Model,
    objective: Objective,
    recipe: Recipe,
    size: Size,
    seeds: Sequence[int],
    settings: Settings,
    start: Float[Tensor, "count c h w"] | None = None,
    input_size: tuple[int, int] | None = None,
) -> Solution:
    """Return one picture for each target of the objective.

    - `size`: channels, height and width of the pictures; `input_size`: height and width at which
    the network sees them; None: the same. - `seeds`: one for each picture. - `start`: pictures to
    start from.

    Raises SeewhyError if scores or gradients are not finite.
    """
    solver = _Solver(model, objective, recipe, size, seeds, start, input_size)
    height, width = input_size or size[1:]
    probe = torch.empty(1, 1, height, width)
    # A step keeps the activations of several small transforms too; on a CPU, fewer together are
    # faster (SqueezeNet, 128 px: 133 picture-steps a second with 4, 108 with 8).
    area = height * width * (CROWDED if model.device.type == "cpu" else 1)
    sizer = BatchSizer(settings, probe, recorded=True, device=model.device, area=area)
    too_large = TooLarge(model.name, height, width)
    total = len(seeds) * recipe.steps
    fast = settings.precision == "fast"
    with ExitStack() as stack:
        for net in (*recipe.parametrisation.networks, model.net):
            stack.enter_context(borrowed(net))
        stack.enter_context(torch.autocast(model.device.type, torch.bfloat16, enabled=fast))
        while len(rows := solver.waiting()):
            rows = rows[: max(1, sizer.together // recipe.transforms.views)]
            for _ in sizer.parts(
                len(rows), lambda part, rows=rows: solver.step(rows[part]), too_large,
                recipe.transforms.views,
            ):  # fmt: skip
                pass
            if settings.progress:
                settings.progress(solver.done(), total)
    notes = (sizer.note,) if sizer.note else ()
    return Solution(solver.pictures(), solver.steps, solver.scores, notes)


class _Solver:
    """The state of all pictures: parameters, optimiser, random numbers and steps."""

    def __init__(
        self,
        model: Model,
        objective: Objective,
        recipe: Recipe,
        size: Size,
        seeds: Sequence[int],
        start: Tensor | None,
        input_size: tuple[int, int] | None,
    ):
        self.model, self.objective, self.recipe = model, objective, recipe
        self.size, self.input_size = size, input_size or size[1:]
        made = recipe.parametrisation
        parameters = made.start(size, seeds) if start is None else made.at(start)
        self.parameters = [p.to(model.device) for p in parameters]
        # Under constraints, steps must be along the gradient, so that they end at the optimum.
        optimiser = NormalisedGradient if recipe.constraints else Adam
        self.optimiser = optimiser(self.parameters, recipe.rate or made.rate)
        self.generators = [torch.Generator().manual_seed(seed ^ STREAM) for seed in seeds]
        count = len(seeds)
        self.steps = torch.zeros(count, dtype=torch.long)
        self.scores = torch.full((count,), torch.nan)
        self._smooth = torch.zeros(count)
        self._before = torch.full((count,), -torch.inf)
        self._waiting = torch.ones(count, dtype=torch.bool)
        self._silent = torch.zeros(count, dtype=torch.bool)

    def waiting(self) -> Int[Tensor, " rows"]:
        """Return the pictures that are not finished."""
        return self._waiting.nonzero()[:, 0]

    def done(self) -> int:
        """Return the number of steps made, where finished pictures count fully."""
        return int(torch.where(self._waiting, self.steps, self.recipe.steps).sum())

    @torch.no_grad()
    def pictures(self) -> Float[Tensor, "count c h w"]:
        """Return all pictures, on the CPU."""
        made = self.recipe.parametrisation
        return made.picture(self.parameters, self.size).float().cpu().clamp(0, 1)

    def step(self, rows: Int[Tensor, " rows"]) -> None:
        """Make one step with these pictures."""
        recipe = self.recipe
        # Before anything is changed: if memory runs out, the step is made again with fewer rows.
        states = [self.generators[row].get_state() for row in rows.tolist()]
        try:
            gradients, scores = self._gradients(rows)
        except BaseException:
            for row, state in zip(rows.tolist(), states, strict=True):
                self.generators[row].set_state(state)
            raise
        with torch.no_grad():
            self.optimiser.step(self.parameters, gradients, rows)
            moved = [p[rows] for p in self.parameters]
            recipe.parametrisation.project(moved)
            for constraint in recipe.constraints:
                moved[0] = constraint.nearest(moved[0], rows)
            for parameter, new in zip(self.parameters, moved, strict=True):
                parameter[rows] = new
        self._count(rows, scores)

    def _gradients(self, rows: Tensor) -> tuple[list[Tensor], Float[Tensor, " rows"]]:
        recipe = self.recipe
        leaves = [p[rows].requires_grad_() for p in self.parameters]
        pictures = recipe.parametrisation.picture(leaves, self.size)
        generators = [self.generators[row] for row in rows.tolist()]
        opaque = pictures
        if isinstance(recipe.parametrisation, Transparent):
            opaque = over_backgrounds(pictures, generators)
        views = recipe.transforms(opaque, generators, self.input_size)
        seen = views.detach().requires_grad_()
        scores = self.objective(seen, rows).view(-1, len(rows)).mean(0)
        upwards = self._upwards(scores, seen, rows)
        penalties = penalty(recipe.penalties, pictures, rows).sum()
        penalties = penalties + recipe.parametrisation.penalty(leaves).sum()
        ends, cotangents = [views], [-upwards]
        if penalties.requires_grad:
            ends, cotangents = [views, penalties], [-upwards, torch.ones_like(penalties)]
        gradients = torch.autograd.grad(ends, leaves, cotangents)
        return list(gradients), scores.detach()

    def _upwards(self, scores: Tensor, seen: Tensor, rows: Tensor) -> Float[Tensor, "views c h w"]:
        """Return the gradient of the scores at the views, redirected for rows where it is zero."""
        gradient = torch.zeros_like(seen)
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(scores.sum(), seen)
        by_row = gradient.view(-1, len(rows), *gradient.shape[1:])
        silent = (by_row == 0).all(0).flatten(1).all(1).cpu()
        if bool(silent.any()):
            at = silent.nonzero()[:, 0]
            by_row[:, at] = self._redirected(seen, rows, at).view_as(by_row[:, at])
        # These gradients are on another scale, which the optimiser must not average with the last.
        self.optimiser.restart(rows[silent != self._silent[rows]])
        self._silent[rows] = silent
        return gradient

    def _redirected(self, seen: Tensor, rows: Tensor, at: Tensor) -> Float[Tensor, "views c h w"]:
        """Return the redirected gradient of the scores at the views of some rows."""
        every = torch.arange(len(seen)).view(-1, len(rows))[:, at].flatten()
        again = seen.detach()[every].requires_grad_()
        tape = Tape({"relu"}, again, reads_input={"relu"})
        loss = -self.objective(again, rows[at], tape).sum()
        pulled = tape.pull(loss, [again], REDIRECTED)[0] if loss.requires_grad else None
        return torch.zeros_like(again) if pulled is None else -pulled

    def _count(self, rows: Tensor, scores: Tensor) -> None:
        """Count the steps, keep the scores, and see which pictures are finished."""
        recipe = self.recipe
        self.steps[rows] += 1
        self._waiting[rows] = self.steps[rows] < recipe.steps
        checked = rows[self.steps[rows] % CHECKED_EVERY == 0]
        last = rows[~self._waiting[rows]]
        if not recipe.tolerance and not len(checked) and not len(last):
            return
        values = scores.float().cpu()
        if not bool(values.isfinite().all()):
            raise SeewhyError(
                f"{self.model.name} gave NaN or infinite scores; try precision full, or a smaller "
                "learning rate"
            )
        self.scores[rows] = values
        if not recipe.tolerance:
            return
        first = self.steps[rows] == 1
        smooth = SMOOTH * self._smooth[rows] + (1 - SMOOTH) * values
        self._smooth[rows] = torch.where(first, values, smooth)
        if len(checked):
            now, before = self._smooth[checked], self._before[checked]
            risen = now - before > recipe.tolerance * now.abs()
            self._waiting[checked] &= risen
            self._before[checked] = now
