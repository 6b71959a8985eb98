"""What a map says in numbers: its range, its balance, and where its evidence lies."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """Numbers of one raw map. Places are shares of the width and height, from the top left.

    Evidence is the positive part of the map; its absolute value where nothing is positive.
    `peak`, `centre` and `half_area` are None where the map holds no evidence at all.
    """

    minimum: float  # of the finite values; 0 where there are none
    maximum: float
    positive: float  # share of the sum of |value| that is above zero, in [0, 1]
    negative: float
    not_finite: int  # NaN and infinities
    count: int
    peak: tuple[float, float] | None  # (across, down) of the strongest evidence
    centre: tuple[float, float] | None  # (across, down) of the evidence's centre of mass
    half_area: float | None  # the smallest share of the picture that holds half the evidence

    @property
    def all_zero(self) -> bool:
        """Whether every finite value is zero."""
        return self.minimum == self.maximum == 0


def statistics(heatmap: Float[Tensor, "height width"]) -> Statistics:
    """Measure one map; values that are not finite are counted and left out of the rest."""
    values = heatmap.detach().cpu().double()
    finite = values.isfinite()
    kept = values[finite]
    minimum, maximum = (kept.min(), kept.max()) if kept.numel() else (0.0, 0.0)
    values = values.where(finite, 0.0)
    total = float(values.abs().sum())
    peak, centre, half_area = _places(values)
    return Statistics(
        minimum=float(minimum),
        maximum=float(maximum),
        positive=float(values.clamp(min=0).sum()) / total if total else 0.0,
        negative=float((-values).clamp(min=0).sum()) / total if total else 0.0,
        not_finite=int((~finite).sum()),
        count=values.numel(),
        peak=peak,
        centre=centre,
        half_area=half_area,
    )


Place = tuple[float, float]


def _places(
    values: Float[Tensor, "height width"],
) -> tuple[Place, Place, float] | tuple[None, None, None]:
    """Peak, centre of mass, and the smallest share of pixels with half of the evidence."""
    evidence = values.clamp(min=0) if (values > 0).any() else values.abs()
    if not evidence.any():
        return None, None, None
    share = evidence / evidence.max()  # before sums, so that no sum overflows
    share = share / share.sum()
    height, width = share.shape
    across = (torch.arange(width, dtype=share.dtype) + 0.5) / width
    down = (torch.arange(height, dtype=share.dtype) + 0.5) / height
    row, column = divmod(int(share.argmax()), width)
    centre = float((share.sum(0) * across).sum()), float((share.sum(1) * down).sum())
    growing = share.flatten().sort(descending=True).values.cumsum(0)
    pixels = int((growing < 0.5 - 1e-12).sum()) + 1
    return (float(across[column]), float(down[row])), centre, pixels / share.numel()
