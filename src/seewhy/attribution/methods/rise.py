"""RISE: which regions, when visible, coincide with a high score?

    map = 1 / (N p) * sum over n of (f_n - mean f) m_n  +  mean f,    f_n = f(x m_n)

with random masks m_n (section 3.3 of the paper): a grid of h x w cells, each kept with probability
p, is up-sampled bilinearly to (h + 1) C_H x (w + 1) C_W pixels, with C_H = ceil(H / h) and C_W =
ceil(W / w), and an area of H x W is cut out whose offset is drawn from [0, C_H) x [0, C_W). Vitali
Petsiuk, Abir Das, Kate Saenko: RISE, BMVC 2018, arXiv 1806.07421; they take 4000 masks for VGG16
and 8000 for ResNet-50, and do not subtract the mean score (`centred=False`), which has the same
expectation and is much noisier: pixels that happen to be seen often then look important.

It needs only scores, and misleads if there are too few masks: the map is then mostly sampling
noise. `tolerance` stops sampling when the standard error, which every map reports, is small.

    seewhy.explain(model, "dog.jpg", "rise", masks=8000, tolerance=0.05)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.attribution.methods.masked import check_score
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model
from seewhy.perturbation import MaskBatch, MaskedScores, Masks
from seewhy.perturbation.baselines import baseline, check_baseline

MOST_CELLS = 1_000
LARGEST_GRIDS = 50_000_000  # cells of all masks together, which are drawn in advance


@dataclass(frozen=True)
class RISE(Method):
    """The mean of random masks, weighted by the scores of the masked pictures.

    - `masks`: the maximum. - `cells`: grid cells per side. - `keep`: probability that a cell is
    visible. - `baseline`: the baseline that replaces hidden pixels.
    - `score`: probability or logit.
    - `tolerance`: stop when the standard error, averaged over the pixels and relative to the map's
    range, is at most this; 0: use all `masks`. - `centred`: subtract the mean score.
    """

    name = "rise"
    question = "Which regions, when visible, coincide with a high score?"
    source = "Petsiuk et al. 2018, arXiv 1806.07421"
    random = True
    costly = True

    masks: int = 4000
    cells: int = 7
    keep: float = 0.5
    baseline: str = "mean"
    score: str = "probability"
    tolerance: float = 0.0
    centred: bool = True

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check_score(self.score)
        check(self.masks >= 2, f"{self.name}: masks must be at least 2, not {self.masks}")
        # A single cell would show all of the picture or nothing of it.
        check(
            2 <= self.cells <= MOST_CELLS,
            f"{self.name}: cells must be from 2 to {MOST_CELLS}, not {self.cells}",
        )
        most = LARGEST_GRIDS // self.cells**2
        check(
            self.masks <= most,
            f"{self.name}: masks must be at most {most} with {self.cells} cells, not {self.masks}",
        )
        check(0 < self.keep < 1, f"{self.name}: keep must be between 0 and 1, not {self.keep}")
        check(
            self.tolerance >= 0, f"{self.name}: tolerance must be at least 0, not {self.tolerance}"
        )

    @property
    def signed(self) -> bool:
        """Whether the score is the logit: probabilities are never negative."""
        return self.score == "logit"

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request nothing of the shared forward pass but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """Return the weighted mean of the masks."""
        maps, note = recording.answer(self, lambda: self._maps(recording))
        return Attribution(maps[:, None], maps, notes=(note,))

    def _maps(self, recording: Recording) -> Sequence[tuple[Tensor, str]]:
        pixels = recording.pixels.detach()
        size = (pixels.shape[-2], pixels.shape[-1])
        seed = recording.settings.seed
        masks = RandomGrids(self.masks, self.cells, self.keep, size, seed, pixels.device)
        fill = baseline(self.baseline, recording.model, pixels)
        scored = MaskedScores(recording, masks, fill, probability=self.score == "probability")
        sums = Sums(len(recording.scores), pixels, self.centred)
        for block in scored:
            sums.add(block)
            if self.tolerance:
                # Blocks end at the same masks for every batch, so the stop does not depend on it.
                done = (sums.error().amax(0) <= self.tolerance) & (sums.count >= LEAST)
                scored.finished |= done.cpu()
        notes = [_note(error) for error in sums.error()]
        return list(zip(sums.maps(self.keep), notes, strict=True))


def _note(error: Float[Tensor, " pictures"]) -> str:
    if not bool(error.any()):
        return "the score is the same for every mask"
    return f"standard error {100 * float(error.mean()):.1f} % of the map's range"


LEAST = 64  # masks before the standard error may stop the sampling
ROUNDING = 1e-6  # a map whose range is at most this fraction of the score is flat
SPREAD = 56  # approximate pixels per side at which the standard error is computed


class Sums:
    """The mean of scores times masks, and its standard error, from running sums.

    - `count`: the number of masks of each picture so far.
    """

    def __init__(self, questions: int, pixels: Tensor, centred: bool):
        shape = (questions, *pixels.shape[:1], *pixels.shape[-2:])
        self.count = torch.zeros(len(pixels), device=pixels.device)
        self._centred = centred
        self._f = torch.zeros(*shape[:2], 1, 1, device=pixels.device)
        # Scores are summed relative to about their mean, to avoid cancellation.
        self._base = torch.zeros(*shape[:2], 1, device=pixels.device)
        self._m, self._fm = (torch.zeros(s, device=pixels.device) for s in (shape[1:], shape))
        # The error is a mean over pixels, so an evenly spaced subset of them is enough.
        self._apart = max(1, min(shape[-2:]) // SPREAD)
        shape = (*shape[:2], *(-(-side // self._apart) for side in shape[2:]))
        self._mm = torch.zeros(shape[1:], device=pixels.device)
        self._fmm, self._ffmm = torch.zeros(2, *shape, device=pixels.device)

    def add(self, block: MaskBatch) -> None:
        """Add the scores of some masks to the sums."""
        p, m = block.pictures, block.masks[0, :, 0]
        if self._centred:
            started = self.count[p, None] > 0
            mean = block.scores.mean(2, keepdim=True)
            self._base[:, p] = torch.where(started, self._base[:, p], mean)
        f = block.scores - self._base[:, p]
        self.count[p] += len(m)
        self._f[:, p] += f.sum(2)[..., None, None]
        self._m[p] += m.sum(0)
        self._fm[:, p] += torch.einsum("qpk,khw->qphw", f, m)
        squares = self._spread(m) ** 2
        self._mm[p] += squares.sum(0)
        self._fmm[:, p] += torch.einsum("qpk,khw->qphw", f, squares)
        self._ffmm[:, p] += torch.einsum("qpk,khw->qphw", f**2, squares)

    def maps(self, keep: float) -> Float[Tensor, "questions pictures height width"]:
        """Return the mean of f m / p; if centred, of (f - mean f) m / p + mean f."""
        n, f = self.count[:, None, None], self._offset
        return (self._fm - f * self._m) / n / keep + f + self._base[..., None]

    def error(self) -> Float[Tensor, "questions pictures"]:
        """Return the mean standard error of a pixel over the map's range; 0 for a flat map."""
        n, f = self.count[:, None, None], self._offset
        first = (self._fm - f * self._m) / n
        span = first.amax((2, 3)) - first.amin((2, 3))
        first = self._spread(first)
        second = (self._ffmm - 2 * f * self._fmm + f**2 * self._mm) / n
        error = ((second - first**2).clamp(min=0) / (n - 1).clamp(min=1)).sqrt().mean((2, 3))
        flat = span <= ROUNDING * (f[..., 0, 0] + self._base[..., 0]).abs()
        return torch.where(flat, 0.0, error / span.clamp_min(1e-30))

    def _spread(self, maps: Tensor) -> Tensor:
        return maps[..., :: self._apart, :: self._apart]

    @property
    def _offset(self) -> Tensor:
        return self._f / self.count[:, None, None] * self._centred


class RandomGrids(Masks):
    """Random grids of cells, each visible with probability `keep`, up-sampled and cropped.

    `cells` cells become (`cells` + 1) * ceil(side / `cells`) pixels, as in the authors' code; the
    paper rounds the size of a cell down, which leaves too few pixels where it does not divide the
    side. The n-th mask depends on the seed and n alone.

    - `seen`: 1 for visible cells, else 0. - `shifts`: the shift of each mask, down and to the
    right, in pixels.
    """

    def __init__(
        self,
        count: int,
        cells: int,
        keep: float,
        size: tuple[int, int],
        seed: int,
        device: torch.device | str = "cpu",
    ):
        self.count, self.size = count, size
        cell = [-(-side // cells) for side in size]
        generator = torch.Generator().manual_seed(seed)
        # A mask's random numbers are consecutive, so they do not depend on the number of masks.
        drawn = torch.rand(count, cells**2 + 2, generator=generator)
        self.seen = (drawn[:, 2:] < keep).view(count, cells, cells).to(device)
        self.shifts = (drawn[:, :2] * torch.tensor(cell)).long().to(device)
        self._up = [_up_sampling(cells, (cells + 1) * side).to(device) for side in cell]

    def of(self, numbers: range) -> Float[Tensor, "1 masks 1 height width"]:
        """Return the masks: rows, then columns are upsampled linearly, inside the picture only."""
        part = slice(numbers.start, numbers.stop)
        rows, columns = (
            up[shift[:, None] + torch.arange(side, device=up.device)]
            for up, shift, side in zip(self._up, self.shifts[part].T, self.size, strict=True)
        )
        return (rows @ self.seen[part].float() @ columns.mT)[None, :, None]


def _up_sampling(cells: int, pixels: int) -> Float[Tensor, "pixels cells"]:
    """Return the weight of each cell in each pixel, for linear up-sampling."""
    return F.interpolate(torch.eye(cells)[None], size=pixels, mode="linear")[0].T
