"""Extremal perturbation: which part of the picture, of a given area, keeps the score high?

    maximise over masks of area a   reward(x behind the mask)

for each of several areas. Masks are smooth (`perturbation/smooth.py`), the hidden part is blurred,
and the map is the sum of the masks: regions in the masks of small areas are brightest. Ruth Fong,
Mandela Patrick, Andrea Vedaldi: Understanding Deep Networks via Extremal Perturbations and Smooth
Masks, 2019, arXiv 1910.08485.

`algorithm="published"` follows the paper step by step: the reward is the logit, gradient descent
with momentum, 800 steps, an area penalty of 300 that grows by a factor of 1.0035 per step, and the
area includes a margin around the picture, so that more than a of the picture itself may be visible.
By default, masks have exactly their area, the reward is the log-probability, the optimiser is Adam,
and the batch slot of a converged mask is reused; `extremal_masks.py` explains how and why.

`seewhy.sufficiency_curve(model, explanation)` measures how much of the score each area keeps, and
finds the smallest area that is sufficient.

It misleads where several regions are sufficient on their own: one mask shows one of them. The
visible part may also be a texture that gives a higher score than the whole picture.

    seewhy.explain(model, "dog.jpg", "extremal-perturbation", areas=(0.05, 0.1, 0.2))
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check, check_choice
from seewhy.attribution.methods.extremal_masks import Exact, Extremal, Published
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model
from seewhy.perturbation.optimisation import Adam, Momentum, Optimiser, optimise
from seewhy.perturbation.perturbations import check_perturbation, perturbation
from seewhy.support.batching import BatchSizer

ALGORITHMS = ("exact-area", "published")
VARIANTS = ("preserve", "delete", "dual")
REWARDS = ("logit", "log-probability", "contrastive")
STEPS, PUBLISHED_STEPS = 100, 800
RATE = 0.1
TOGETHER = 8  # learned masks that are rendered at a time


@dataclass(frozen=True)
class ExtremalPerturbation(Method):
    """The sum of the masks of given areas that best keep the score high.

    - `areas`: fractions of the picture. - `variant`: preserve (the visible part keeps the score),
    delete (the hidden part destroys it) or dual (both). - `baseline`: pyramid (blur) or a baseline
    to fade to. - `algorithm`: exact-area (ours) or published. - `reward`: logit, log-probability or
    contrastive (the logit minus the largest other one); None: logit for the published algorithm,
    else log-probability. - `steps`: the maximum; None: 800 for the published algorithm, else 100.
    """

    name = "extremal-perturbation"
    question = "Which part of a given area is sufficient for the score?"
    source = "Fong, Patrick, Vedaldi 2019, arXiv 1910.08485"
    costly = True

    areas: tuple[float, ...] = (0.05, 0.1, 0.2)
    variant: str = "preserve"
    baseline: str = "pyramid"
    algorithm: str = "exact-area"
    reward: str | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        check_areas(self.areas)
        check_perturbation(self.baseline)
        check_choice("variant", self.variant, VARIANTS)
        check_choice("algorithm", self.algorithm, ALGORITHMS)
        if self.reward is not None:
            check_choice("reward", self.reward, REWARDS)
        check(
            self.steps is None or self.steps >= 1,
            f"{self.name}: steps must be at least 1, not {self.steps}",
        )

    @property
    def signed(self) -> bool:
        """False: the map is a sum of masks."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request nothing of the shared forward pass but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """Return a mask for each area, and their sum."""
        masks, note = recording.answer(self, lambda: self._masks(recording))
        masks = masks.float()
        return Attribution(masks, masks.sum(1), notes=(note,))

    def _masks(self, recording: Recording) -> Sequence[tuple[Tensor, str]]:
        objective = self._objective(recording)
        optimiser: Optimiser = Momentum() if self._published else Adam(RATE, objective.steps)
        sizer = BatchSizer(recording.settings, recording.pixels, recorded=True)
        lattices, steps = optimise(recording, objective, optimiser, objective.start(sizer), sizer)
        with torch.no_grad():
            parts = torch.arange(objective.count).split(TOGETHER)
            masks = torch.cat([objective.masks(lattices[slots], slots) for slots in parts])
        shape = (len(recording.scores), len(recording.pixels), -1)
        mean_steps = steps.view(shape).float().mean((1, 2)).tolist()
        notes = [f"{mean:.0f} steps per mask" for mean in mean_steps]
        return list(zip(masks.unflatten(0, shape), notes, strict=True))

    def _objective(self, recording: Recording) -> Extremal:
        objective = Published if self._published else Exact
        seen = perturbation(self.baseline, recording.model, recording.pixels.detach())
        reward = self.reward or ("logit" if self._published else "log-probability")
        steps = self.steps or (PUBLISHED_STEPS if self._published else STEPS)
        return objective(recording, seen, self.areas, self.variant, reward, steps)

    @property
    def _published(self) -> bool:
        return self.algorithm == "published"


def check_areas(areas: tuple[float, ...]) -> None:
    """Raise SeewhyError unless all areas are between 0 and 1."""
    inside = bool(areas) and all(isinstance(a, int | float) and 0 < a < 1 for a in areas)
    check(inside, f"areas must be between 0 and 1, such as (0.05, 0.1), not {areas}")
