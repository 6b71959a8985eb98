"""Meaningful perturbation: what is the smallest region whose removal lowers the score?

    minimise over masks m   p(x behind m) + area * mean(1 - m) + smoothness * mean |grad m|^3

(the deletion game; in the preservation game, -p(x behind m) + area * mean(m) + the same smoothness
term). The mask has one cell per `cell` x `cell` pixels and is upsampled; the picture is shifted by
a few pixels at every step, to avoid artefacts. Ruth Fong, Andrea Vedaldi: Interpretable
Explanations of Black Boxes by Meaningful Perturbation, 2017, arXiv 1704.03296.

The size of the mask depends on the weights of the two penalties and differs between pictures;
`extremal-perturbation` fixes the area instead.

    seewhy.explain(model, "dog.jpg", "meaningful-perturbation", baseline="noise", game="preserve")
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check, check_choice
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model
from seewhy.perturbation.optimisation import Adam, MaskObjective, optimise
from seewhy.perturbation.perturbations import check_perturbation, perturbation
from seewhy.support.batching import BatchSizer

GAMES = ("delete", "preserve")
BETA = 3
RATE = 0.1


@dataclass(frozen=True)
class MeaningfulPerturbation(Method):
    """The smallest region whose removal lowers the score, or that keeps the score.

    - `game`: delete or preserve. - `baseline`: blur, another baseline, or pyramid.
    - `steps`: optimisation steps. - `cell`: side of a mask cell, in pixels of the picture.
    - `area`, `smoothness`: weights of the penalties. - `jitter`: the largest shift, in pixels.
    """

    name = "meaningful-perturbation"
    question = "What is the smallest region whose removal lowers the score?"
    source = "Fong, Vedaldi 2017, arXiv 1704.03296"
    costly = True
    random = True

    game: str = "delete"
    baseline: str = "blur"
    steps: int = 150
    cell: int = 8
    area: float = 0.3
    smoothness: float = 0.3
    jitter: int = 4

    def __post_init__(self) -> None:
        check_perturbation(self.baseline)
        check_choice("game", self.game, GAMES)
        check(self.steps >= 1, f"{self.name}: steps must be at least 1, not {self.steps}")
        check(self.cell >= 1, f"{self.name}: cell must be at least 1 pixel, not {self.cell}")
        check(self.jitter >= 0, f"{self.name}: jitter must be at least 0, not {self.jitter}")
        check(self.area >= 0, f"{self.name}: area must be at least 0, not {self.area}")
        check(
            self.smoothness >= 0,
            f"{self.name}: smoothness must be at least 0, not {self.smoothness}",
        )

    @property
    def signed(self) -> bool:
        """False: the map is a mask."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request nothing of the shared forward pass but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """Return the hidden region (delete) or the visible region (preserve)."""
        masks = recording.answer(self, lambda: self._masks(recording))
        masks = masks.float()
        return Attribution(masks[:, None], masks)

    def _masks(self, recording: Recording) -> Sequence[Tensor]:
        objective = _Meaningful(recording, self)
        # Start with everything hidden (delete) or visible (preserve); the area penalty shrinks it.
        start = 0.0 if self.game == "delete" else 1.0
        # Half precision would round the steps away, and squared gradients to zero.
        wide = torch.promote_types(recording.pixels.dtype, torch.float32)
        lattices = torch.full(
            (objective.count, *objective.shape), start, dtype=wide, device=recording.pixels.device
        )
        sizer = BatchSizer(recording.settings, recording.pixels, recorded=True)
        lattices, _ = optimise(recording, objective, Adam(RATE, self.steps), lattices, sizer)
        masks = objective.upsampled(lattices)
        masks = 1 - masks if self.game == "delete" else masks
        return list(masks.unflatten(0, (len(recording.scores), -1)))


class _Meaningful(MaskObjective):
    """An objective with one slot for each question and picture."""

    def __init__(self, recording: Recording, method: MeaningfulPerturbation):
        pixels = recording.pixels.detach()
        self.steps, self._method = method.steps, method
        self._size = (pixels.shape[-2], pixels.shape[-1])
        self.shape = -(-self._size[0] // method.cell), -(-self._size[1] // method.cell)
        self.count = len(recording.scores) * len(pixels)
        self._seen = perturbation(method.baseline, recording.model, pixels)
        self._recording, self._variants = recording, recording.variants()
        generator = torch.Generator().manual_seed(recording.settings.seed)
        span = 2 * method.jitter + 1
        self._shifts = torch.randint(span, (method.steps, 2), generator=generator) - method.jitter

    def upsampled(self, lattices: Tensor) -> Tensor:
        """Return the lattices upsampled bilinearly to the size of the picture."""
        return F.interpolate(lattices[:, None], self._size, mode="bilinear")[:, 0]

    def losses(self, slots: Tensor, lattices: Tensor, step: Tensor) -> Tensor:
        """Return the probability (or minus it) plus the penalties on area and roughness."""
        slots = slots.to(lattices.device)
        deletes = self._method.game == "delete"
        pictures = slots % len(self._recording.pixels)
        seen = self._seen.apply(pictures, self.upsampled(lattices))
        shifts = self._shifts[step.cpu()].tolist()
        shifted = [x.roll(shift, (-2, -1)) for x, shift in zip(seen, shifts, strict=True)]
        outputs = self._variants.outputs(self._variants.prepared(torch.stack(shifted)))
        scores = torch.zeros(len(slots), dtype=outputs.logits.dtype, device=lattices.device)
        for number, score in enumerate(self._recording.scores):
            values = score.rows(pictures).probability(outputs)
            if score.hidden:  # not a probability: relative to the score of the whole picture
                original = score.of(self._recording.forward.outputs).detach()[pictures]
                values = values / original.abs().clamp_min(1e-6)
            scores = torch.where(slots // len(self._recording.pixels) == number, values, scores)
        area = (1 - lattices if deletes else lattices).mean((1, 2))
        rough = sum(
            lattices.diff(dim=axis).abs().pow(BETA).sum((1, 2)) for axis in (1, 2)
        ) / lattices[0].numel()  # fmt: skip
        signed_scores = scores if deletes else -scores
        return signed_scores + self._method.area * area + self._method.smoothness * rough
