"""Occlusion: where does the score drop when a window is covered?

    map = mean over the windows that cover a pixel of  f(x) - f(x with the window covered)

Matthew Zeiler, Rob Fergus: Visualizing and Understanding Convolutional Networks, 2013, arXiv
1311.2901. A window moves over the picture in steps of `stride`; the last window of a row or column
is cut off at the border.

It misleads where evidence is redundant (covering one eye changes nothing while the other is
visible), and where the network takes the cover for an object.

    seewhy.explain(model, "dog.jpg", "occlusion", window=32, stride=16, baseline="blur")
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.attribution.methods.masked import check_score
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model
from seewhy.perturbation import MaskedScores, Windows
from seewhy.perturbation.baselines import baseline, check_baseline


@dataclass(frozen=True)
class Occlusion(Method):
    """How much the score drops when a window is covered.

    - `window`, `stride`: in pixels of the model's input. - `baseline`: what covers the window:
    mean, black, grey, white, blur, noise, or a baseline of yours. - `score`: logit or probability.
    """

    name = "occlusion"
    question = "Where does the score drop when a window is covered?"
    source = "Zeiler, Fergus 2013, arXiv 1311.2901"
    costly = True

    window: int = 16
    stride: int = 8
    baseline: str = "mean"
    score: str = "logit"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check_score(self.score)
        check(self.window >= 1, f"{self.name}: window must be at least 1 pixel, not {self.window}")
        check(
            1 <= self.stride <= self.window,
            f"{self.name}: stride must be between 1 and {self.window} (the window), not "
            f"{self.stride}",
        )

    @property
    def signed(self) -> bool:
        """True: the score may rise when a window is covered, which is evidence against."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request nothing of the shared forward pass but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """Return the mean drop over the windows that cover each pixel."""
        maps = recording.answer(self, lambda: self._maps(recording))
        return Attribution(maps[:, None], maps)

    def _maps(self, recording: Recording) -> Sequence[Tensor]:
        pixels = recording.pixels.detach()
        size = (pixels.shape[-2], pixels.shape[-1])
        masks = Windows(windows(size, self.window, self.stride).to(pixels.device), size)
        scored = MaskedScores(
            recording,
            masks,
            baseline(self.baseline, recording.model, pixels),
            probability=self.score == "probability",
        )
        original = scored.unmasked()
        drops = torch.zeros(len(original), len(pixels), *size, device=pixels.device)
        covers = torch.zeros(size, device=pixels.device)
        for block in scored:
            hidden = 1 - block.masks[0, :, 0]
            drop = original[:, block.pictures, None] - block.scores
            drops[:, block.pictures] += torch.einsum("qpk,khw->qphw", drop, hidden)
            covers += hidden.sum(0)
        return list(drops / covers)


def windows(size: tuple[int, int], window: int, stride: int) -> Int[Tensor, "windows 4"]:
    """Return top, left, height and width of the windows that cover a picture, row by row."""
    tops, lefts = (_starts(side, window, stride) for side in size)
    top, left = (g.flatten() for g in torch.meshgrid(tops, lefts, indexing="ij"))
    height, width = (
        (side - start).clamp(max=window) for side, start in zip(size, (top, left), strict=True)
    )
    return torch.stack([top, left, height, width], 1)


def _starts(side: int, window: int, stride: int) -> Int[Tensor, " starts"]:
    count = 1 + max(0, -(-(side - window) // stride))
    return stride * torch.arange(count)
