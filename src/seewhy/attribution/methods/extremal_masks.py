"""The two optimisations of extremal perturbation: as published, and a faster one with exact areas.

Both maximise the reward of pictures behind smooth masks of given areas, with one batch slot for
each question, picture and area (`perturbation/optimisation.py`). They differ in

                      published                              ours
    masks             maximum convolution of a lattice       level set of a smooth field
    area              a growing penalty, including a         exact for every lattice
                      margin around the picture
    mask value 1/2    half the blur strength                 half picture, half blurred picture
    reward            the logit                              the log-probability plus a tenth of
                                                             the logit, for when p is near 1
    initial mask      ones                                   the cells whose visibility raises the
                                                             reward most, on average
    optimiser         gradient descent with momentum         Adam, with masks that get harder

The final mask is binary, so the meaning of intermediate values during the optimisation is a free
choice. We blend linearly: the gradient at a hidden cell then tells what revealing it would add,
whereas a blur of 20 pixels leaves hardly any gradient. We fix the area exactly, because while
everything is visible and the reward is flat, an area penalty alone would decide which cells are
hidden.
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

PENALTY, GROWTH = 300.0, 1.0035  # area penalty and its growth per step, as published
LEAN = 0.1  # weight of the logit in the log-probability reward: it decides when p is near 1
SOFTEST, HARDEST = 0.02, 0.001  # softness of our masks at the first and last step
SPREAD = 0.2  # standard deviation of the initial lattice
SEEN = (0.2, 0.4, 0.6, 0.8)  # constant mask values at which the initial gradient is averaged


class Extremal(MaskObjective):
    """An objective with one slot for each question, picture and area.

    - `areas`: fractions of the picture. - `variant`: preserve, delete or dual. - `reward`: logit,
    log-probability or contrastive. - `steps`: optimisation steps.
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
        # Half precision would round the steps away.
        wide = torch.promote_types(pixels.dtype, torch.float32)
        self._areas = torch.tensor(areas, dtype=wide, device=pixels.device)
        self._seen, self._recording, self._variants = seen, recording, recording.variants()

    @abstractmethod
    def start(self, sizer: BatchSizer) -> Float[Tensor, "slots rows columns"]:
        """Return the initial lattices."""

    @abstractmethod
    def masks(
        self, lattices: Float[Tensor, "slots rows columns"], slots: Int[Tensor, " slots"]
    ) -> Float[Tensor, "slots height width"]:
        """Return the final masks of the lattices."""

    @abstractmethod
    def through(self, pictures: Int[Tensor, " slots"], masks: Tensor) -> Tensor:
        """Return the pictures behind masks, prepared for the network."""

    def reward(
        self,
        slots: Int[Tensor, " slots"],
        masks: Float[Tensor, "slots height width"],
        step: Int[Tensor, " slots"],
    ) -> Float[Tensor, " slots"]:
        """Return the reward of the visible part, minus that of the hidden part in some variants."""
        if self._variant == "preserve":
            return self._rewards(slots, masks, step)
        hidden = self._rewards(slots, 1 - masks, step)
        return self._rewards(slots, masks, step) - hidden if self._variant == "dual" else -hidden

    def area_of(self, slots: Int[Tensor, " slots"]) -> Float[Tensor, " slots"]:
        """Return the area of each mask."""
        return self._areas[slots % len(self._areas)]

    def _rewards(self, slots: Tensor, masks: Tensor, step: Tensor) -> Float[Tensor, " slots"]:
        pairs = slots // len(self._areas)
        pictures, questions = (
            pairs % len(self._recording.pixels),
            pairs // len(self._recording.pixels),
        )
        seen = self.through(pictures, masks)
        # Every other step uses the mirrored picture, to avoid artefacts.
        mirrored = (step % 2 == 1).to(masks.device)
        seen = torch.where(mirrored[:, None, None, None], seen.flip(-1), seen)
        outputs = self._variants.outputs(seen)
        rewards = torch.zeros(len(slots), dtype=outputs.logits.dtype, device=masks.device)
        for number, score in enumerate(self._recording.scores):
            selected = (questions == number).to(masks.device)
            rewards = torch.where(selected, self._reward_of(score.rows(pictures), outputs), rewards)
        return rewards

    def _reward_of(self, score: Score, outputs: Outputs) -> Float[Tensor, " slots"]:
        if self._reward == "log-probability":
            return score.log_probability(outputs) + LEAN * score.of(outputs)
        if self._reward == "logit" or score.hidden or score.raw:
            return score.of(outputs)
        others = outputs.logits.masked_fill(score.weights > 0, -torch.inf).amax(1)
        return score.of(outputs) - others.clamp_min(-1e4)


class Published(Extremal):
    """The algorithm of Fong, Patrick and Vedaldi, step by step."""

    def __init__(self, recording: Recording, *options):
        super().__init__(recording, *options)
        self._smooth = SmoothMasks(self.size)
        self.shape = self._smooth.lattice.shape

    def start(self, sizer: BatchSizer) -> Float[Tensor, "slots rows columns"]:
        """Return ones."""
        return self._areas.new_ones(self.count, *self.shape)

    def masks(self, lattices: Tensor, slots: Tensor) -> Tensor:
        """Return the maximum convolution of the lattices."""
        return self._smooth.of(lattices)[0]

    def through(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Return the pictures blurred or faded with strength 1 - m."""
        return self._variants.prepared(self._seen.apply(pictures, masks))

    def losses(self, slots: Tensor, lattices: Tensor, step: Tensor) -> Tensor:
        """Return the growing area penalty minus the reward."""
        masks, values = self._smooth.of(lattices)
        penalty = PENALTY * GROWTH ** step.to(self._areas)
        return penalty * area_loss(values, self.area_of(slots)) - self.reward(slots, masks, step)


class Exact(Extremal):
    """Our algorithm: the area is exact from the first step on, and masks get harder."""

    def __init__(self, recording: Recording, *options):
        super().__init__(recording, *options)
        self._exact = ExactMasks(self.size)
        self.shape = self._exact.lattice.shape
        self.least = self.steps // 2
        # Normalisation is affine, so it is done once, before blending.
        self._whole = self._variants.prepared(self._seen.whole)
        self._hidden = self._variants.prepared(self._seen.hidden)

    def start(self, sizer: BatchSizer) -> Float[Tensor, "slots rows columns"]:
        """Return the standardised mean gradient of the reward at constant masks, around 0.5."""
        areas = len(self._areas)
        slots = torch.arange(0, self.count, areas)  # one per picture: all areas start alike
        rise = self._areas.new_zeros(len(slots), *self.shape)
        for level in SEEN:
            constant = torch.full_like(rise, level)
            rise += gradients(self._recording, sizer, self._field_reward, slots, constant)
        spread = rise.std((1, 2), keepdim=True).clamp_min(1e-30)
        initial = 0.5 + SPREAD * (rise - rise.mean((1, 2), keepdim=True)) / spread
        return initial.clamp(0, 1).repeat_interleave(areas, 0)

    def _field_reward(self, slots: Tensor, lattices: Tensor) -> Tensor:
        return self.reward(slots, self._exact.field(lattices), torch.zeros_like(slots))

    def masks(self, lattices: Tensor, slots: Tensor) -> Tensor:
        """Return masks of the initial softness; thresholded at their area, they are as learned."""
        softness = torch.full_like(lattices[:, 0, 0], SOFTEST)
        return self._exact.of(lattices, self.area_of(slots), softness)

    def through(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Return a linear blend of the visible and the hidden pictures."""
        whole = self._whole[pictures]
        return torch.lerp(self._hidden[pictures], whole, masks[:, None].to(whole))

    def losses(self, slots: Tensor, lattices: Tensor, step: Tensor) -> Tensor:
        """Return minus the reward."""
        share = (step / max(1, self.steps - 1)).to(self._areas)
        softness = SOFTEST * (HARDEST / SOFTEST) ** share
        return -self.reward(slots, self._exact.of(lattices, self.area_of(slots), softness), step)
