"""`MaskedScores`: the scores of masked pictures, at the speed of the network.

The variant of a picture x under a mask m is m x + (1 - m) b, where b is the baseline. Normalisation
is affine, so x and b are normalised once and blended afterwards. A batch contains variants of all
pictures, and each variant is scored for all targets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.engine.incremental import NotLocal
from seewhy.engine.recording import Recording
from seewhy.engine.runners import FastRunner
from seewhy.errors import SeewhyError
from seewhy.perturbation.masks import Masks
from seewhy.perturbation.windowed import WINDOWS_TOGETHER, Windowed, clock
from seewhy.support.batching import BatchSizer
from seewhy.targets.scores import Outputs

# Masks made and scored at a time; accelerators need many forward passes to be fully used.
TOGETHER, TOGETHER_ON_ACCELERATORS = 32, 256


@dataclass(frozen=True)
class MaskBatch:
    """Some masks, scored on some pictures.

    - `pictures`: their indices. - `numbers`: of the masks. - `masks`: one set for each of the
    pictures, or one for all. - `scores`: of each target (question), picture and mask.
    """

    pictures: Int[Tensor, " pictures"]
    numbers: range
    masks: Float[Tensor, "sets masks channels height width"]
    scores: Float[Tensor, "questions pictures masks"]


class MaskedScores:
    """The scores of the recording's pictures under masks; iterate to get them block by block.

    - `fill`: the pixels in [0, 1] that replace what is hidden.
    - `probability`: use probabilities instead of logits.
    - `finished`: pictures that need no more masks; set by the caller while iterating.
    """

    def __init__(
        self,
        recording: Recording,
        masks: Masks,
        fill: Float[Tensor, "pictures channels height width"],
        probability: bool = False,
    ):
        self.recording, self.masks = recording, masks
        self.finished = torch.zeros(len(fill), dtype=torch.bool)
        self._probability = probability
        self._variants = recording.variants()
        # Blending is fastest on contiguous tensors; the network's layout is applied to the result.
        self._picture = self._variants.prepared(recording.pixels.detach()).contiguous()
        self._fill = self._variants.prepared(fill).contiguous()
        self._sizer = BatchSizer(recording.settings, recording.pixels)
        self._windowed: Windowed | None = None
        on_cpu = fill.device.type == "cpu"
        self._together = TOGETHER if on_cpu else TOGETHER_ON_ACCELERATORS
        if isinstance(self._variants, FastRunner) and masks.count > self._together:
            net = recording.forward.inference
            laid_out = self.recording.model.laid_out(self._picture)
            sizer = BatchSizer(recording.settings, recording.pixels, most=WINDOWS_TOGETHER)
            self._windowed = Windowed(net.logits, laid_out, self._fill, net.rounding, sizer)

    def unmasked(self) -> Float[Tensor, "questions pictures"]:
        """Return the scores of the pictures without masks."""
        with torch.no_grad():
            return self._scored(self._picture, torch.arange(len(self._picture)))

    def __iter__(self) -> Iterator[MaskBatch]:
        count = self.masks.count
        for start in range(0, count, self._together):
            pictures = (~self.finished).nonzero()[:, 0]
            if not len(pictures):
                break
            numbers = range(start, min(start + self._together, count))
            with torch.no_grad():
                masks = _rows(self.masks.of(numbers).to(self._picture.device), pictures)
                scores = self._hidden(pictures, numbers, masks)
            self._check(scores)
            yield MaskBatch(pictures, numbers, masks, scores)
            if self.recording.settings.progress:
                self.recording.settings.progress(numbers.stop, count)
        for note in (self._sizer.note, self._windowed and self._windowed.note):
            if note:
                self.recording.notes.append(note)

    def _hidden(self, pictures: Tensor, numbers: range, masks: Tensor) -> Tensor:
        """Return the scores under masks, by incremental inference if the masks are windows."""
        boxes = self.masks.windows(numbers)
        if boxes is None or self._windowed is None:
            return self._scores(pictures, masks)
        if not self._windowed.tried:
            begun = clock(masks.device)
            scores = self._scores(pictures, masks)
            spent = clock(masks.device) - begun
            if not self._windowed.is_quicker(pictures, boxes, scores, spent, self._scored_logits):
                self._windowed = None
            return scores
        try:
            return self._windowed.scores(pictures, boxes, self._scored_logits)
        except NotLocal:  # the network may take another path for these windows
            self._windowed = None
            return self._scores(pictures, masks)

    def _scores(self, pictures: Tensor, masks: Tensor) -> Float[Tensor, "questions pictures masks"]:
        """Return the scores under masks, in batches as large as memory allows, mask by mask."""
        picture, fill = self._picture[pictures], self._fill[pictures]
        masks = masks.to(picture)

        def scored(part: slice, rows: slice) -> Tensor:
            chosen = masks[:, part] if len(masks) == 1 else masks[rows, part]
            variants = torch.lerp(fill[rows], picture[rows], chosen.transpose(0, 1))
            return self._scored(variants.flatten(0, 1), pictures[rows].repeat(len(variants)))

        scores = list(self._sizer.blocks(masks.shape[1], len(pictures), scored))
        return torch.cat(scores, 1).unflatten(1, (-1, len(pictures))).transpose(1, 2)

    def _check(self, scores: Tensor) -> None:
        if not bool(scores.isfinite().all()):
            raise SeewhyError(
                f"{self.recording.model.name} gave NaN or infinite scores on masked pictures; try "
                "precision full, or another baseline"
            )

    def _scored(self, variants: Tensor, rows: Tensor) -> Float[Tensor, "questions variants"]:
        """Return the scores of variants of the pictures `rows`."""
        return self._scores_of(self._variants.outputs(variants), rows)

    def _scored_logits(self, logits: Tensor, rows: Tensor) -> Float[Tensor, "questions variants"]:
        """Return the scores from the logits of such variants."""
        self.recording.cost.ran(forwards=len(logits) / len(self._picture))
        return self._scores_of(Outputs(logits, {}, None), rows)

    def _scores_of(self, outputs: Outputs, rows: Tensor) -> Float[Tensor, "questions variants"]:
        scores = [score.rows(rows) for score in self.recording.scores]
        return torch.stack(
            [s.probability(outputs) if self._probability else s.of(outputs) for s in scores]
        ).float()


def _rows(masks: Tensor, pictures: Tensor) -> Tensor:
    return masks if len(masks) == 1 else masks[pictures]
