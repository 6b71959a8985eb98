"""Meaningful perturbation: what is the least that has to go for the score to fall?

    minimise over masks m   p(x seen through m) + area * mean(1 - m) + smoothness * mean |grad m|^3

(the deletion game; in the preservation game m is the least that keeps the score, and p comes with
a minus). The mask has a cell for every `cell` pixels and is up-sampled; the picture is shifted by
some pixels at every step, against artefacts. Ruth Fong, Andrea Vedaldi: Interpretable Explanations
of Black Boxes by Meaningful Perturbation, 2017, arXiv 1704.03296.

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
    """The least that has to go for the score to fall, or that keeps it.

    - `game`: delete or preserve. - `baseline`: blur, another, or pyramid. - `steps`: of the
    optimisation. - `cell`: pixels of the picture to one of the mask. - `area`, `smoothness`:
    weights of the penalties. - `jitter`: the largest shift, in pixels.
    """

    name = "meaningful-perturbation"
    question = "What is the least that has to go for the score to fall?"
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
        check(self.steps >= 1, f"{self.name} needs at least one step, not {self.steps}")
        check(self.cell >= 1, f"a cell is at least one pixel, not {self.cell}")
        check(self.jitter >= 0, f"jitter is not negative, got {self.jitter}")
        check(min(self.area, self.smoothness) >= 0, "penalties are not negative")

    @property
    def signed(self) -> bool:
        """A mask."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Nothing of the shared forward but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """What is hidden (delete), or seen (preserve)."""
        masks = recording.answer(self, lambda: self._masks(recording))
        masks = masks.float()
        return Attribution(masks[:, None], masks)

    def _masks(self, recording: Recording) -> Sequence[Tensor]:
        problem = _Meaningful(recording, self)
        # From where the score is all gone (or all there): the area brings the mask to the edge.
        start = 0.0 if self.game == "delete" else 1.0
        # Steps are too small for half precision, and squares of gradients vanish in it.
        wide = torch.promote_types(recording.pixels.dtype, torch.float32)
        lattices = torch.full(
            (problem.count, *problem.shape), start, dtype=wide, device=recording.pixels.device
        )
        room = BatchSizer(recording.settings, recording.pixels, recorded=True)
        lattices, _ = optimise(recording, problem, Adam(RATE, self.steps), lattices, room)
        masks = problem.up_sampled(lattices)
        masks = 1 - masks if self.game == "delete" else masks
        return list(masks.unflatten(0, (len(recording.scores), -1)))


class _Meaningful(MaskObjective):
    """A slot for each question and picture."""

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

    def up_sampled(self, lattices: Tensor) -> Tensor:
        """Bilinear, to the size of the picture."""
        return F.interpolate(lattices[:, None], self._size, mode="bilinear")[:, 0]

    def losses(self, slots: Tensor, lattices: Tensor, step: Tensor) -> Tensor:
        """The probability, the area and the roughness."""
        slots = slots.to(lattices.device)
        deletes = self._method.game == "delete"
        pictures = slots % len(self._recording.pixels)
        seen = self._seen.apply(pictures, self.up_sampled(lattices))
        shifts = self._shifts[step.cpu()].tolist()
        shifted = [one.roll(shift, (-2, -1)) for one, shift in zip(seen, shifts, strict=True)]
        outputs = self._variants.outputs(self._variants.prepared(torch.stack(shifted)))
        found = torch.zeros(len(slots), dtype=outputs.logits.dtype, device=lattices.device)
        for number, score in enumerate(self._recording.scores):
            values = score.rows(pictures).probability(outputs)
            if score.hidden:  # no probability: as a share of what it was
                whole = score.of(self._recording.forward.outputs).detach()[pictures]
                values = values / whole.abs().clamp_min(1e-6)
            found = torch.where(slots // len(self._recording.pixels) == number, values, found)
        spent = (1 - lattices if deletes else lattices).mean((1, 2))
        rough = sum(
            lattices.diff(dim=axis).abs().pow(BETA).sum((1, 2)) for axis in (1, 2)
        ) / lattices[0].numel()  # fmt: skip
        kept = found if deletes else -found
        return kept + self._method.area * spent + self._method.smoothness * rough
