"""Extremal perturbation: which part of the picture, of a given area, keeps the score up?

    maximise over masks of area a   reward(x seen through the mask)

for every area on a list. Masks are smooth (`perturbation/smooth.py`), what is not seen is blurred,
and the map is the sum of the masks: what small areas need comes first. Ruth Fong, Mandela Patrick,
Andrea Vedaldi: Understanding Deep Networks via Extremal Perturbations and Smooth Masks, 2019, arXiv
1910.08485.

`faithful=True` is the published algorithm, step by step: reward the logit, gradient descent with
momentum, 800 steps, an area penalty 300 that grows by 1.0035 a step, area counted with a margin
around the picture, so that more than a of the picture itself may be seen. By default masks have
their area exactly, the reward is the log-probability and the optimiser Adam, and a mask that has
settled makes room for the next: `extremal_masks.py` says how and why.

`seewhy.sufficiency_curve(model, explanation)` says how much of the score each area keeps, and the
smallest area that is enough.

It misleads where several places would do alone: one mask shows one of them. What is kept may also
be a texture that drives the network further than the whole picture does.

    seewhy.explain(model, "dog.jpg", "extremal-perturbation", areas="0.05,0.1,0.2")
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.attribution.methods.extremal_masks import Exact, Extremal, Published
from seewhy.engine.recording import Recording, Request
from seewhy.errors import SeewhyError, Unknown
from seewhy.models.model import Model
from seewhy.perturbation.optimisation import Adam, Momentum, Optimiser, optimise
from seewhy.perturbation.perturbations import check_perturbation, perturbation
from seewhy.support.batching import BatchSizer

VARIANTS = ("preserve", "delete", "dual")
REWARDS = ("logit", "log-probability", "contrastive")
STEPS, FAITHFUL_STEPS = 100, 800
RATE = 0.1
TOGETHER = 8  # masks rendered at a time, once they are learned


@dataclass(frozen=True)
class ExtremalPerturbation(Method):
    """The masks of given areas that keep the score up best; their sum.

    - `areas`: shares of the picture, with commas. - `variant`: preserve (what is seen keeps the
    score), delete (what is hidden destroys it) or dual (both). - `perturbation`: pyramid (blur) or
    a baseline to fade to. - `reward`: logit, log-probability or contrastive (the logit less the
    best other one); empty: logit if `faithful`, else log-probability. - `steps`: at most; 0: 800
    if `faithful`, else 100.
    """

    name = "extremal-perturbation"
    question = "Which part, of a given area, suffices for the score?"
    source = "Fong, Patrick, Vedaldi 2019, arXiv 1910.08485"
    costly = True

    areas: str = "0.05,0.1,0.2"
    variant: str = "preserve"
    perturbation: str = "pyramid"
    reward: str = ""
    faithful: bool = False
    steps: int = 0

    def __post_init__(self) -> None:
        areas_of(self.areas)
        check_perturbation(self.perturbation)
        if self.variant not in VARIANTS:
            raise Unknown("variant", self.variant, VARIANTS, hint=", ".join(VARIANTS))
        if self.reward and self.reward not in REWARDS:
            raise Unknown("reward", self.reward, REWARDS, hint=", ".join(REWARDS))
        check(self.steps >= 0, f"steps of extremal-perturbation are not negative: {self.steps}")

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
        optimiser: Optimiser = Momentum() if self.faithful else Adam(RATE, problem.steps)
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
        way = Published if self.faithful else Exact
        seen = perturbation(self.perturbation, recording.model, recording.pixels.detach())
        reward = self.reward or ("logit" if self.faithful else "log-probability")
        steps = self.steps or (FAITHFUL_STEPS if self.faithful else STEPS)
        return way(recording, seen, areas_of(self.areas), self.variant, reward, steps)


def areas_of(text: str) -> tuple[float, ...]:
    """The areas, in the order in which they are named."""
    try:
        areas = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise SeewhyError(
            f"areas are numbers with commas, such as 0.05,0.1, not {text!r}"
        ) from None
    check(all(0 < a < 1 for a in areas), f"areas are shares between 0 and 1, not {text!r}")
    return areas
