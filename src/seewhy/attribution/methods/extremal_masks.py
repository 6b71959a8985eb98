"""How extremal perturbation learns its masks: as published, and quicker.

Both maximise a reward of what is seen through smooth masks of given areas, one slot of a batch for
each question, picture and area (`perturbation/optimisation.py`). They differ in

                      published                              ours
    masks             maximum convolution of a lattice       where a smooth field is highest
    area              a penalty that grows, with a margin    exact, whatever the lattice
                      around the picture
    half seen         half blurred                           half of the picture, half of its blur
    reward            the logit                              the log-probability, and a tenth of
                                                             the logit for when that is certain
    begins with       everything seen                        the cells whose reveal raises the
                                                             reward most, on average
    follows           gradient descent with momentum         Adam, with masks that get harder

The final mask is binary, so the meaning of intermediate values during the optimisation is a free
choice. We blend linearly: the gradient at a hidden cell then says what revealing it would add,
which a blur of 20 pixels does not. We fix the area exactly, because while everything is visible and
the reward is flat, a penalty on the area alone would decide which cells are hidden.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.engine.recording import Recording
from seewhy.perturbation.exact import ExactMasks
from seewhy.perturbation.optimisation import MaskObjective, gradients
from seewhy.perturbation.perturbations import Perturbation
from seewhy.perturbation.smooth import SmoothMasks, area_loss
from seewhy.support.batching import BatchSizer
from seewhy.targets.scores import Outputs, Score

PENALTY, GROWTH = 300.0, 1.0035  # of the area: published
LEAN = 0.1  # of the logit in the log-probability's reward: where the class is certain, it decides
SOFTEST, HARDEST = 0.02, 0.001  # softness of our masks, from the first step to the last
SPREAD = 0.2  # of the first lattice, as a standard deviation
SEEN = (0.2, 0.4, 0.6, 0.8)  # how much of everything is seen when the first mask is looked for


class Extremal(MaskObjective):
    """A slot for each question, picture and area.

    - `areas`: shares of the picture. - `variant`: preserve, delete or dual. - `reward`: logit,
    log-probability or contrastive. - `steps`: of the optimisation.
    """

    def __init__(
        self,
        recording: Recording,
        seen: Perturbation,
        areas: Sequence[float],
        variant: str,
        reward: str,
        steps: int,
    ):
        pixels = recording.pixels
        self.steps, self._variant, self._reward = steps, variant, reward
        self.count = len(recording.scores) * len(pixels) * len(areas)
        self.size = (pixels.shape[-2], pixels.shape[-1])
        # Steps are too small for half precision.
        wide = torch.promote_types(pixels.dtype, torch.float32)
        self._areas = torch.tensor(areas, dtype=wide, device=pixels.device)
        self._seen, self._recording, self._variants = seen, recording, recording.variants()

    @abstractmethod
    def start(self, room: BatchSizer) -> Float[Tensor, "slots rows columns"]:
        """The lattices to begin with."""

    @abstractmethod
    def masks(
        self, lattices: Float[Tensor, "slots rows columns"], slots: Int[Tensor, " slots"]
    ) -> Float[Tensor, "slots height width"]:
        """What the lattices have become in the end."""

    @abstractmethod
    def through(self, pictures: Int[Tensor, " slots"], masks: Tensor) -> Tensor:
        """The pictures behind masks, prepared for the network."""

    def reward(
        self,
        slots: Int[Tensor, " slots"],
        masks: Float[Tensor, "slots height width"],
        step: Int[Tensor, " slots"],
    ) -> Float[Tensor, " slots"]:
        """Of what is seen, less that of what is hidden, as the variant says."""
        if self._variant == "preserve":
            return self._rewards(slots, masks, step)
        hidden = self._rewards(slots, 1 - masks, step)
        return self._rewards(slots, masks, step) - hidden if self._variant == "dual" else -hidden

    def area_of(self, slots: Int[Tensor, " slots"]) -> Float[Tensor, " slots"]:
        """The area of each mask."""
        return self._areas[slots % len(self._areas)]

    def _rewards(self, slots: Tensor, masks: Tensor, step: Tensor) -> Float[Tensor, " slots"]:
        places = slots // len(self._areas)
        pictures, questions = (
            places % len(self._recording.pixels),
            places // len(self._recording.pixels),
        )
        seen = self.through(pictures, masks)
        # Every other step sees the picture mirrored, against artefacts.
        mirrored = (step % 2 == 1).to(masks.device)
        seen = torch.where(mirrored[:, None, None, None], seen.flip(-1), seen)
        outputs = self._variants.outputs(seen)
        rewards = torch.zeros(len(slots), dtype=outputs.logits.dtype, device=masks.device)
        for number, score in enumerate(self._recording.scores):
            asked = (questions == number).to(masks.device)
            rewards = torch.where(asked, self._found(score.rows(pictures), outputs), rewards)
        return rewards

    def _found(self, score: Score, outputs: Outputs) -> Float[Tensor, " slots"]:
        if self._reward == "log-probability":
            return score.log_probability(outputs) + LEAN * score.of(outputs)
        if self._reward == "logit" or score.hidden or score.raw:
            return score.of(outputs)
        others = outputs.logits.masked_fill(score.weights > 0, -torch.inf).amax(1)
        return score.of(outputs) - others.clamp_min(-1e4)


class Published(Extremal):
    """Step by step as Fong, Patrick and Vedaldi do it."""

    def __init__(self, recording: Recording, *given):
        super().__init__(recording, *given)
        self._smooth = SmoothMasks(self.size)
        self.shape = self._smooth.lattice.shape

    def start(self, room: BatchSizer) -> Float[Tensor, "slots rows columns"]:
        """Ones."""
        return self._areas.new_ones(self.count, *self.shape)

    def masks(self, lattices: Tensor, slots: Tensor) -> Tensor:
        """By maximum convolution."""
        return self._smooth.of(lattices)[0]

    def through(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Blurred, or faded, with a strength of 1 - m."""
        return self._variants.prepared(self._seen.apply(pictures, masks))

    def losses(self, slots: Tensor, lattices: Tensor, step: Tensor) -> Tensor:
        """The area penalty, which grows, less the reward."""
        masks, values = self._smooth.of(lattices)
        penalty = PENALTY * GROWTH ** step.to(self._areas)
        return penalty * area_loss(values, self.area_of(slots)) - self.reward(slots, masks, step)


class Exact(Extremal):
    """The area is exact from the first step on; masks get harder."""

    def __init__(self, recording: Recording, *given):
        super().__init__(recording, *given)
        self._exact = ExactMasks(self.size)
        self.shape = self._exact.lattice.shape
        self.least = self.steps // 2
        # Normalising is affine, so it is done once.
        self._whole = self._variants.prepared(self._seen.whole)
        self._hidden = self._variants.prepared(self._seen.hidden)

    def start(self, room: BatchSizer) -> Float[Tensor, "slots rows columns"]:
        """Cells by what their reveal does to the reward, on average."""
        areas = len(self._areas)
        slots = torch.arange(0, self.count, areas)  # they begin alike
        rise = self._areas.new_zeros(len(slots), *self.shape)
        for level in SEEN:
            seen = torch.full_like(rise, level)
            rise += gradients(self._recording, room, self._revealed, slots, seen)
        spread = rise.std((1, 2), keepdim=True).clamp_min(1e-30)
        first = 0.5 + SPREAD * (rise - rise.mean((1, 2), keepdim=True)) / spread
        return first.clamp(0, 1).repeat_interleave(areas, 0)

    def _revealed(self, slots: Tensor, lattices: Tensor) -> Tensor:
        return self.reward(slots, self._exact.field(lattices), torch.zeros_like(slots))

    def masks(self, lattices: Tensor, slots: Tensor) -> Tensor:
        """As soft as they were at first: cut to their area, they are what was learned."""
        softness = torch.full_like(lattices[:, 0, 0], SOFTEST)
        return self._exact.of(lattices, self.area_of(slots), softness)

    def through(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """A blend of what is whole and what is hidden."""
        whole = self._whole[pictures]
        return torch.lerp(self._hidden[pictures], whole, masks[:, None].to(whole))

    def losses(self, slots: Tensor, lattices: Tensor, step: Tensor) -> Tensor:
        """Minus the reward."""
        share = (step / max(1, self.steps - 1)).to(self._areas)
        softness = SOFTEST * (HARDEST / SOFTEST) ** share
        return -self.reward(slots, self._exact.of(lattices, self.area_of(slots), softness), step)
