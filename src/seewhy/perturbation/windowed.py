"""Score pictures with hidden windows by incremental inference, if that is exact and faster."""

import time
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.engine.incremental import Incremental
from seewhy.support.batching import BatchSizer

# Windows in one forward pass: their tiles are small, and neighbouring windows share their reads.
WINDOWS_TOGETHER = 32

Score = Callable[[Tensor, Tensor], Tensor]  # (logits, index of the picture of each) -> scores


class Windowed:
    """Runs pictures with windows that are replaced by `fill`.

    - `net`: maps normalised pixels to logits. - `rounding`: the largest difference, as a share of
    the largest score, that counts as a rounding error. - `sizer`: for the windows of one forward
    pass. - `tried`: whether incremental inference has been compared with whole forward passes.
    """

    def __init__(
        self,
        net: Callable[[Tensor], Tensor],
        pictures: Float[Tensor, "pictures channels height width"],
        fill: Float[Tensor, "pictures channels height width"],
        rounding: float,
        sizer: BatchSizer,
    ):
        self._pictures, self._fill, self._rounding = pictures, fill, rounding
        self._runs = [Incremental(net) for _ in pictures]
        self._sizer = sizer
        self.tried = False
        self.speedup = 1.0

    def is_quicker(
        self,
        pictures: Int[Tensor, " some"],
        boxes: Int[Tensor, "windows 4"],
        expected: Float[Tensor, "questions some windows"],
        seconds: float,
        score: Score,
    ) -> bool:
        """Return whether it gives the same scores in less time; tried on one picture.

        `seconds` is the time of whole forward passes, by `clock`. Any error returns False: whole
        forward passes still work.
        """
        self.tried = True
        first = pictures[:1]
        try:
            self.scores(first, boxes[:1], score)  # fills the caches, which are not timed
            begun = clock(self._pictures.device)
            scores = self.scores(first, boxes, score)
            spent = clock(self._pictures.device) - begun
        except Exception:
            return False
        self.speedup = seconds / len(pictures) / spent
        scale = float(expected.abs().amax().clamp_min(1e-6))
        difference = float((scores - expected[:, :1]).abs().amax())
        return self.speedup > 1 and difference <= self._rounding * scale

    def scores(
        self, pictures: Int[Tensor, " some"], boxes: Int[Tensor, "windows 4"], score: Score
    ) -> Float[Tensor, "questions some windows"]:
        """Return the scores of each picture with each window hidden."""
        size = (int(boxes[:, 2].max()), int(boxes[:, 3].max()))
        height, width = self._pictures.shape[-2:]
        top, left = boxes[:, 0].clamp(max=height - size[0]), boxes[:, 1].clamp(max=width - size[1])
        kept = _outside(boxes, top, left, size)
        scores = []
        for picture in pictures.tolist():

            def scored(part: slice, picture: int = picture) -> Tensor:
                logits = self._logits(picture, top[part], left[part], kept[part])
                return score(logits, torch.full((len(logits),), picture))

            scores.append(torch.cat(list(self._sizer.parts(len(boxes), scored)), 1))
        return torch.stack(scores, 1)

    def _logits(self, picture: int, top: Tensor, left: Tensor, kept: Tensor) -> Tensor:
        """Return the logits of a picture whose tiles show `fill` where they are not `kept`."""
        size = (kept.shape[2], kept.shape[3])
        seen, hidden = (
            _cut(values[picture], top, left, size) for values in (self._pictures, self._fill)
        )
        patches = torch.where(kept, seen, hidden)
        return self._runs[picture](self._pictures[picture, None], patches, top, left)

    @property
    def note(self) -> str | None:
        """A message for the user if incremental inference was tried, else None."""
        if not self.tried:
            return None
        note = f"incremental inference, {self.speedup:.1f} times as fast as whole forward passes"
        return f"{note}; {self._sizer.note}" if self._sizer.note else note


def clock(device: torch.device) -> float:
    """Return the time in seconds, after pending CUDA work on the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _cut(picture: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    tiles = picture.unfold(1, size[0], 1).unfold(2, size[1], 1)
    return tiles[:, top, left].transpose(0, 1)


def _outside(boxes: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    """Return where the tiles, which all have one size, lie outside their windows."""
    device = boxes.device
    rows = top[:, None] + torch.arange(size[0], device=device)
    columns = left[:, None] + torch.arange(size[1], device=device)
    y, x, height, width = (b[:, None] for b in boxes.T)
    inside_rows, inside_columns = (
        (rows >= y) & (rows < y + height),
        (columns >= x) & (columns < x + width),
    )
    return ~(inside_rows[:, None, :, None] & inside_columns[:, None, None, :])
