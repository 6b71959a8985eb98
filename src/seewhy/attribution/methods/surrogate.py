"""What LIME and KernelSHAP share: segments are switched on and off, and a linear model of that is
fitted to the scores. Its coefficients, painted on the segments, are the map.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.attribution.methods.masked import check_score
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model
from seewhy.perturbation import MaskedScores
from seewhy.perturbation.baselines import baseline, check_baseline
from seewhy.perturbation.superpixels import OnOff, superpixels

# Scores that differ by no more, as a share of the largest, differ by rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Design:
    """What is run for one picture: which segments are shown each time, and how much it counts."""

    shown: Bool[Tensor, "samples segments"]
    weights: Float[Tensor, " samples"]


@dataclass(frozen=True)
class Fit:
    """Coefficients of each question and segment.

    - `explained`: the weighted share of the variance that the fit explains.
    - `residual`: as an `Attribution`'s.
    """

    coefficients: Float[Tensor, "questions segments"]
    explained: Float[Tensor, " questions"]
    residual: Float[Tensor, " questions"] | None = None


@dataclass(frozen=True)
class Surrogate(Method):
    """A linear model of which segments of the picture are shown."""

    random = True
    costly = True

    samples: int = 1000
    segments: int = 50
    baseline: str = "mean"
    score: str = "probability"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check_score(self.score)
        check(self.samples >= 4, f"{self.name} needs at least four samples, not {self.samples}")
        check(self.segments >= 1, f"{self.name} needs a segment or more, not {self.segments}")

    @property
    def signed(self) -> bool:
        """What lowers the score when it is shown is evidence against."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Nothing of the shared forward but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """The coefficients, painted on the segments."""
        maps, residual, note = recording.answer(self, lambda: self._answers(recording))
        return Attribution(maps[:, None], maps, residual=residual, notes=(note,))

    @abstractmethod
    def design(self, segments: int, seed: int) -> Design:
        """What to run for a picture of so many segments."""

    @abstractmethod
    def fit(self, design: Design, scores: Float[Tensor, "questions samples"]) -> Fit:
        """The linear model, in float64."""

    def _answers(self, recording: Recording) -> Sequence[tuple[Tensor, Tensor | None, str]]:
        pixels = recording.pixels.detach()
        labels = superpixels(pixels, self.segments)
        seed = recording.settings.seed
        designs = [self.design(int(one.max()) + 1, seed) for one in labels]
        scores = self._scores(recording, OnOff(labels, [d.shown for d in designs], pixels.device))
        each = [scores[:, i, : len(design.shown)] for i, design in enumerate(designs)]
        fits = [self.fit(*pair) for pair in zip(designs, each, strict=True)]
        constant = torch.stack([unchanged(one) for one in each], 1)
        maps = torch.stack(
            [fit.coefficients[:, one] for fit, one in zip(fits, labels, strict=True)], 1
        )
        maps = maps.float().to(pixels.device)
        return [
            (maps[q], _each_residual(fits, q), _note(designs, fits, constant[q], q))
            for q in range(len(maps))
        ]

    def _scores(
        self, recording: Recording, masks: OnOff
    ) -> Float[Tensor, "questions pictures samples"]:
        pixels = recording.pixels.detach()
        fill = baseline(self.baseline, recording.model, pixels)
        scored = MaskedScores(recording, masks, fill, probability=self.score == "probability")
        shape = len(recording.scores), len(pixels), masks.count
        scores = torch.zeros(shape, dtype=torch.float64)
        for block in scored:
            numbers = torch.arange(block.numbers.start, block.numbers.stop)
            scores[:, block.pictures[:, None], numbers] = block.scores.double().cpu()
            scored.finished |= masks.needed <= block.numbers.stop
        return scores


def _note(
    designs: Sequence[Design],
    fits: Sequence[Fit],
    constant: Bool[Tensor, " pictures"],
    question: int,
) -> str:
    """How many segments there are, and how good the fit is where there is anything to fit."""
    segments = sorted({d.shown.shape[1] for d in designs})
    between = f"{segments[0]}" if len(segments) == 1 else f"{segments[0]} to {segments[-1]}"
    said = [f"{between} segments"]
    fitted = [fit for fit, still in zip(fits, constant.tolist(), strict=True) if not still]
    if fitted:
        mean = sum(float(fit.explained[question]) for fit in fitted) / len(fitted)
        said.append(f"the fit explains {100 * mean:.0f} % of the variance")
    if len(fitted) < len(fits):
        where = f" of {len(fits) - len(fitted)} of {len(fits)} pictures" if fitted else ""
        said.append(f"the score{where} does not change, whatever is hidden")
    return "; ".join(said)


def unchanged(scores: Float[Tensor, "questions samples"]) -> Bool[Tensor, " questions"]:
    """Whether the samples have the same score, but for rounding."""
    return scores.amax(1) - scores.amin(1) <= ROUNDING * scores.abs().amax(1)


def _each_residual(fits: Sequence[Fit], question: int) -> Float[Tensor, " pictures"] | None:
    found = [fit.residual[question] for fit in fits if fit.residual is not None]
    return torch.stack(found).float() if found else None


def explained(
    scores: Float[Tensor, "questions samples"],
    fitted: Float[Tensor, "questions samples"],
    weights: Float[Tensor, " samples"],
) -> Float[Tensor, " questions"]:
    """The weighted R^2: one less the share of the variance that is left over."""
    mean = (scores * weights).sum(1, keepdim=True) / weights.sum()
    left = (weights * (scores - fitted) ** 2).sum(1)
    return 1 - left / (weights * (scores - mean) ** 2).sum(1).clamp_min(1e-300)
