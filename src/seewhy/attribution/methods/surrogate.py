"""The base class of LIME and KernelSHAP: a linear model of the score by visible segments.

Segments are shown and hidden, and the model is fitted to the scores. Each pixel of the map has the
coefficient of its segment.
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

# Scores that differ by at most this fraction of the largest differ by rounding only.
ROUNDING = 1e-6

LARGEST_DESIGN = 20_000_000  # samples times segments, which are fitted at once


@dataclass(frozen=True)
class Design:
    """The samples of one picture: which segments are visible in each, and its weight."""

    shown: Bool[Tensor, "samples segments"]
    weights: Float[Tensor, " samples"]


@dataclass(frozen=True)
class Fit:
    """The coefficients of each question and segment.

    - `explained`: the weighted fraction of the variance that the fit explains.
    - `residual`: as in `Attribution`.
    """

    coefficients: Float[Tensor, "questions segments"]
    explained: Float[Tensor, " questions"]
    residual: Float[Tensor, " questions"] | None = None


@dataclass(frozen=True)
class Surrogate(Method):
    """A linear model of the score, whose inputs are the visible segments of the picture."""

    random = True
    costly = True

    samples: int = 1000
    segments: int = 50
    baseline: str = "mean"
    score: str = "probability"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check_score(self.score)
        check(self.samples >= 4, f"{self.name}: samples must be at least 4, not {self.samples}")
        check(self.segments >= 1, f"{self.name}: segments must be at least 1, not {self.segments}")
        most = LARGEST_DESIGN // self.segments
        check(
            self.samples <= most,
            f"{self.name}: samples must be at most {most} with {self.segments} segments, "
            f"not {self.samples}",
        )

    @property
    def signed(self) -> bool:
        """True: segments that lower the score when visible are evidence against."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request nothing of the shared forward pass but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """Return the map, with each pixel the coefficient of its segment."""
        maps, residual, note = recording.answer(self, lambda: self._answers(recording))
        return Attribution(maps[:, None], maps, residual=residual, notes=(note,))

    @abstractmethod
    def design(self, segments: int, seed: int) -> Design:
        """Return the samples for a picture with this number of segments."""

    @abstractmethod
    def fit(self, design: Design, scores: Float[Tensor, "questions samples"]) -> Fit:
        """Return the linear model, in float64."""

    def _answers(self, recording: Recording) -> Sequence[tuple[Tensor, Tensor | None, str]]:
        pixels = recording.pixels.detach()
        labels = superpixels(pixels, self.segments)
        seed = recording.settings.seed
        designs = [self.design(int(segments.max()) + 1, seed) for segments in labels]
        scores = self._scores(recording, OnOff(labels, [d.shown for d in designs], pixels.device))
        by_picture = [scores[:, i, : len(design.shown)] for i, design in enumerate(designs)]
        fits = [self.fit(*pair) for pair in zip(designs, by_picture, strict=True)]
        constant = torch.stack([unchanged(picture_scores) for picture_scores in by_picture], 1)
        maps = torch.stack(
            [fit.coefficients[:, segments] for fit, segments in zip(fits, labels, strict=True)], 1
        )
        maps = maps.float().to(pixels.device)
        return [
            (maps[q], _residuals(fits, q), _note(designs, fits, constant[q], q))
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
    """Return the number of segments and the fit's R^2, for pictures whose score changes."""
    segments = sorted({d.shown.shape[1] for d in designs})
    number = f"{segments[0]}" if len(segments) == 1 else f"{segments[0]} to {segments[-1]}"
    parts = [f"{number} segments"]
    fitted = [fit for fit, flat in zip(fits, constant.tolist(), strict=True) if not flat]
    if fitted:
        mean = sum(float(fit.explained[question]) for fit in fitted) / len(fitted)
        parts.append(f"the fit explains {100 * mean:.0f} % of the variance")
    if len(fitted) < len(fits):
        pictures = f" of {len(fits) - len(fitted)} of {len(fits)} pictures" if fitted else ""
        parts.append(f"the score{pictures} does not change, whatever is hidden")
    return "; ".join(parts)


def unchanged(scores: Float[Tensor, "questions samples"]) -> Bool[Tensor, " questions"]:
    """Return whether all samples have the same score, up to rounding."""
    return scores.amax(1) - scores.amin(1) <= ROUNDING * scores.abs().amax(1)


def _residuals(fits: Sequence[Fit], question: int) -> Float[Tensor, " pictures"] | None:
    residuals = [fit.residual[question] for fit in fits if fit.residual is not None]
    return torch.stack(residuals).float() if residuals else None


def explained(
    scores: Float[Tensor, "questions samples"],
    fitted: Float[Tensor, "questions samples"],
    weights: Float[Tensor, " samples"],
) -> Float[Tensor, " questions"]:
    """Return the weighted R^2: 1 minus the unexplained fraction of the variance."""
    mean = (scores * weights).sum(1, keepdim=True) / weights.sum()
    unexplained = (weights * (scores - fitted) ** 2).sum(1)
    return 1 - unexplained / (weights * (scores - mean) ** 2).sum(1).clamp_min(1e-300)
