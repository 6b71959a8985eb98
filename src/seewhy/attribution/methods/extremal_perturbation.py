"""Extremal perturbation: which part of the picture, of a given area, keeps the score up?

    maximise over masks of area a   reward(x seen through the mask)

for every area on a list. Masks are smooth (`perturbation/smooth.py`), what is not seen is blurred,
and the map is the sum of the masks: what small areas need comes first. Ruth Fong, Mandela Patrick,
Andrea Vedaldi: Understanding Deep Networks via Extremal Perturbations and Smooth Masks, 2019, arXiv
1910.08485.

`algorithm="published"` is the published one, step by step: reward the logit, gradient descent with
momentum, 800 steps, an area penalty 300 that grows by 1.0035 a step, area counted with a margin
around the picture, so that more than a of the picture itself may be seen. By default masks have
their area exactly, the reward is the log-probability and the optimiser Adam, and a mask that has
settled makes room for the next: `extremal_masks.py` says how and why.

`seewhy.sufficiency_curve(model, explanation)` says how much of the score each area keeps, and the
smallest area that is enough.

It misleads where several places would do alone: one mask shows one of them. What is kept may also
be a texture that drives the network further than the whole picture does.

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
TOGETHER = 8  # masks rendered at a time, once they are learned


@dataclass(frozen=True)
class ExtremalPerturbation(Method):
    """The masks of given areas that keep the score up best; their sum.

    - `areas`: shares of the picture. - `variant`: preserve (what is seen keeps the score), delete
    (what is hidden destroys it) or dual (both). - `baseline`: pyramid (blur) or a baseline to fade
    to. - `algorithm`: exact-area (ours) or published. - `reward`: logit, log-probability or
    contrastive (the logit less the best other one); None: logit for the published algorithm, else
    log-probability. - `steps`: at most; None: 800 for the published algorithm, else 100.
    """

    name = "extremal-perturbation"
    question = "Which part, of a given area, suffices for the score?"
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
            f"extremal-perturbation needs at least one step, not {self.steps}",
        )

    @property
    def signed(self) -> bool:
        """A sum of masks."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Nothing of the shared forward but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """A mask for each area, and their sum."""
        masks, note = recording.answer(self, lambda: self._masks(recording))
        masks = masks.float()
        return Attribution(masks, masks.sum(1), notes=(note,))

    def _masks(self, recording: Recording) -> Sequence[tuple[Tensor, str]]:
        problem = self._problem(recording)
        optimiser: Optimiser = Momentum() if self._published else Adam(RATE, problem.steps)
        room = BatchSizer(recording.settings, recording.pixels, recorded=True)
        lattices, taken = optimise(recording, problem, optimiser, problem.start(room), room)
        with torch.no_grad():
            slots = torch.arange(problem.count).split(TOGETHER)
            masks = torch.cat([problem.masks(lattices[some], some) for some in slots])
        shape = (len(recording.scores), len(recording.pixels), -1)
        taken = taken.view(shape).float().mean((1, 2)).tolist()
        notes = [f"{mean:.0f} steps a mask" for mean in taken]
        return list(zip(masks.unflatten(0, shape), notes, strict=True))

    def _problem(self, recording: Recording) -> Extremal:
        objective = Published if self._published else Exact
        seen = perturbation(self.baseline, recording.model, recording.pixels.detach())
        reward = self.reward or ("logit" if self._published else "log-probability")
        steps = self.steps or (PUBLISHED_STEPS if self._published else STEPS)
        return objective(recording, seen, self.areas, self.variant, reward, steps)

    @property
    def _published(self) -> bool:
        return self.algorithm == "published"


def check_areas(areas: tuple[float, ...]) -> None:
    """Refuse what are no shares of a picture."""
    inside = bool(areas) and all(isinstance(a, int | float) and 0 < a < 1 for a in areas)
    check(inside, f"areas are shares between 0 and 1, such as (0.05, 0.1), not {areas}")
