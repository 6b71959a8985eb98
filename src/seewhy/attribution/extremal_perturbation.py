"""Extremal perturbation: which part of the picture, of a given area, keeps the score up?

    maximise over masks of area a   reward(x seen through the mask)

for every area on a list. Masks are smooth (`masking/smooth.py`), what is not seen is blurred, and
the map is the sum of the masks: what small areas need comes first. Ruth Fong, Mandela Patrick,
Andrea Vedaldi: Understanding Deep Networks via Extremal Perturbations and Smooth Masks, 2019, arXiv
1910.08485.

`faithful=True` is the published algorithm, step by step: reward the logit, gradient descent with
momentum, 800 steps, an area penalty 300 that grows by 1.0035 a step, area counted with a margin
around the picture, so that more than a of the picture itself may be seen. By default the reward is
the log-probability, the optimiser Adam, the maximum taken at the points of the lattice, the area
that of the picture; a mask that has settled makes room for the next.

`seewhy.response_curve(model, explanation)` says how much of the score each area keeps, and the
smallest area that is enough.

It misleads where several places would do alone: one mask shows one of them. What is kept may also
be a texture that drives the network further than the whole picture does.

    seewhy.explain(model, "dog.jpg", "extremal-perturbation", areas="0.05,0.1,0.2")
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.errors import SeewhyError, Unknown
from seewhy.masking.memory import Room
from seewhy.masking.perturbations import Perturbation, check_perturbation, perturbation
from seewhy.masking.smooth import SmoothMasks, area_loss
from seewhy.masking.solving import Adam, Momentum, Problem, Rule, gradients, solve
from seewhy.model import Model
from seewhy.recording import Reading, Recording

VARIANTS = ("preserve", "delete", "dual")
REWARDS = ("logit", "log-probability", "contrastive")
STEPS, FAITHFUL_STEPS = 120, 800
PENALTY, GROWTH = 300.0, 1.0035  # of the area: published
FIRST, LAST = 30.0, 3000.0  # ours, where log-probabilities are at stake
RATE = 0.1
SEEN = (0.2, 0.4, 0.6, 0.8)  # how much of everything is seen when the first mask is looked for
EDGE = 5.0  # how fast the first mask falls off, from cell to cell in order of rank


@dataclass(frozen=True)
class ExtremalPerturbation(Method):
    """The masks of given areas that keep the score up best; their sum.

    - `areas`: shares of the picture, with commas. - `variant`: preserve (what is seen keeps the
    score), delete (what is hidden destroys it) or dual (both). - `perturbation`: pyramid (blur) or
    a baseline to fade to. - `reward`: logit, log-probability or contrastive (the logit less the
    best other one); empty: logit if `faithful`, else log-probability. - `steps`: at most; 0: 800
    if `faithful`, else 120.
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

    def readings(self, model: Model, pixels: Tensor) -> list[Reading]:
        """Nothing of the shared forward but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """A mask for each area, and their sum."""
        masks, note = recording.answer(self, lambda: self._masks(recording))
        masks = masks.float()
        return Attribution(masks, masks.sum(1), notes=(note,))

    def _masks(self, recording: Recording) -> Sequence[tuple[Tensor, str]]:
        problem = _Extremal(recording, self)
        steps = problem.steps
        rule: Rule = Momentum() if self.faithful else Adam(RATE, steps)
        room = Room(recording.settings, recording.pixels, recorded=True)
        lattices, taken = solve(recording, problem, rule, problem.start(room), room)
        with torch.no_grad():
            masks = torch.cat([problem.masks.of(some)[0] for some in lattices.split(8)])
        shape = (len(recording.scores), len(recording.pixels), -1)
        taken = taken.view(shape).float().mean((1, 2)).tolist()
        notes = [f"{mean:.0f} steps a mask" for mean in taken]
        return list(zip(masks.unflatten(0, shape), notes, strict=True))


class _Extremal(Problem):
    """A slot for each question, picture and area."""

    def __init__(self, recording: Recording, method: ExtremalPerturbation):
        pixels = recording.pixels.detach()
        areas = areas_of(method.areas)
        self._faithful, self._variant = method.faithful, method.variant
        self._reward = method.reward or ("logit" if method.faithful else "log-probability")
        self.steps = method.steps or (FAITHFUL_STEPS if method.faithful else STEPS)
        self.least = None if method.faithful else self.steps // 3
        self.masks = SmoothMasks((pixels.shape[-2], pixels.shape[-1]), fine=method.faithful)
        self.shape = self.masks.lattice
        self.count = len(recording.scores) * len(pixels) * len(areas)
        self._areas = torch.tensor(areas, device=pixels.device)
        self._seen: Perturbation = perturbation(method.perturbation, recording.model, pixels)
        self._recording, self._variants = recording, recording.variants()

    def start(self, room: Room) -> Float[Tensor, "slots rows columns"]:
        """Ones, as published; else the cells whose reveal raises the reward most, on average.

        From ones, where the reward hardly changes, the area penalty alone would choose the cells.
        """
        areas, like = len(self._areas), self._recording.pixels
        if self._faithful:
            return torch.ones(self.count, *self.shape).to(like)
        slots = torch.arange(0, self.count, areas, device=like.device)  # areas begin alike
        rise = torch.zeros(len(slots), *self.shape).to(like)
        for level in SEEN:
            seen = torch.full_like(rise, level)
            rise += gradients(self._recording, room, self._first_reward, slots, seen)
        smooth = F.avg_pool2d(rise[:, None], 5, 1, 2, count_include_pad=False)[:, 0]
        order = smooth.flatten(1) / smooth.abs().flatten(1).amax(1, True).clamp_min(1e-12) * 1e4
        rank = order.round().argsort(dim=1, stable=True).argsort(dim=1).to(like)
        rank = rank / max(1, rank.shape[1] - 1)
        above = rank[:, None] - (1 - self._areas)[:, None].to(like)
        return (0.5 + EDGE * above).clamp(0, 1).view(self.count, *self.shape)

    def _first_reward(self, slots: Tensor, lattices: Tensor) -> Tensor:
        return self._reward_of(slots, self.masks.of(lattices)[0], torch.zeros_like(slots))

    def losses(self, slots: Tensor, lattices: Tensor, step: Tensor) -> Tensor:
        """The reward, and the area penalty, which grows."""
        masks, values = self.masks.of(lattices)
        penalty = self._penalty(step) * area_loss(values, self._areas[slots % len(self._areas)])
        return penalty - self._reward_of(slots, masks, step)

    def _reward_of(self, slots: Tensor, masks: Tensor, step: Tensor) -> Float[Tensor, " slots"]:
        """Of what is seen, less that of what is hidden, as the variant says."""
        if self._variant == "preserve":
            return self._rewards(slots, masks, step)
        hidden = self._rewards(slots, 1 - masks, step)
        return self._rewards(slots, masks, step) - hidden if self._variant == "dual" else -hidden

    def _penalty(self, step: Tensor) -> Tensor:
        if self._faithful:
            return PENALTY * GROWTH ** step.to(self._areas)
        return FIRST * (LAST / FIRST) ** (step.to(self._areas) / max(1, self.steps - 1))

    def _rewards(self, slots: Tensor, masks: Tensor, step: Tensor) -> Float[Tensor, " slots"]:
        pictures = slots // len(self._areas) % len(self._recording.pixels)
        seen = self._seen.apply(pictures, masks)
        # Every other step sees the picture mirrored, against artefacts.
        seen = torch.where((step % 2 == 1)[:, None, None, None], seen.flip(-1), seen)
        outputs = self._variants.outputs(self._variants.prepared(seen))
        questions = slots // len(self._areas) // len(self._recording.pixels)
        rewards = torch.zeros(len(slots), dtype=outputs.logits.dtype, device=masks.device)
        for number, score in enumerate(self._recording.scores):
            rows = score.rows(pictures)
            if score.hidden or score.raw or self._reward == "logit":
                found = rows.of(outputs)
            elif self._reward == "log-probability":
                found = rows.probability(outputs).clamp_min(1e-12).log()
            else:
                others = outputs.logits.masked_fill(rows.weights > 0, -torch.inf).amax(1)
                found = rows.of(outputs) - others.clamp_min(-1e4)
            rewards = torch.where(questions == number, found, rewards)
        return rewards


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
