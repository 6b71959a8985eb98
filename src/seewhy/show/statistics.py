"""Statistics of a map: its range, the balance of its signs, and where its evidence lies."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """Statistics of one raw map. Positions are fractions of the size, from the top left.

    Evidence is the positive part of the map, or its absolute value if no value is positive.
    `peak`, `centre` and `half_area` are None if the map has no evidence.
    """

    minimum: float  # of the finite values; 0 if there are none
    maximum: float
    positive: float  # fraction of the sum of |value| from values above zero, in [0, 1]
    negative: float
    not_finite: int  # NaN and infinities
    count: int
    peak: tuple[float, float] | None  # (x, y) of the strongest evidence
    centre: tuple[float, float] | None  # (x, y) of the evidence's centre of mass
    half_area: float | None  # the smallest fraction of the picture with half of the evidence

    @property
    def all_zero(self) -> bool:
        """Whether every finite value is zero."""
        return self.minimum == self.maximum == 0


def statistics(heatmap: Float[Tensor, "height width"]) -> Statistics:
    """Compute the statistics of one map; values that are not finite are only counted."""
    values = heatmap.detach().cpu().double()
    is_finite = values.isfinite()
    finite = values[is_finite]
    minimum, maximum = (finite.min(), finite.max()) if finite.numel() else (0.0, 0.0)
    values = values.where(is_finite, 0.0)
    total = float(values.abs().sum())
    peak, centre, half_area = _locations(values)
    return Statistics(
        minimum=float(minimum),
        maximum=float(maximum),
        positive=float(values.clamp(min=0).sum()) / total if total else 0.0,
        negative=float((-values).clamp(min=0).sum()) / total if total else 0.0,
        not_finite=int((~is_finite).sum()),
        count=values.numel(),
        peak=peak,
        centre=centre,
        half_area=half_area,
    )


Position = tuple[float, float]


def _locations(
    values: Float[Tensor, "height width"],
) -> tuple[Position, Position, float] | tuple[None, None, None]:
    """Return the peak, the centre of mass, and the smallest area with half of the evidence."""
    evidence = values.clamp(min=0) if (values > 0).any() else values.abs()
    if not evidence.any():
        return None, None, None
    share = evidence / evidence.max()  # before the sum, so that it does not overflow
    share = share / share.sum()
    height, width = share.shape
    x = (torch.arange(width, dtype=share.dtype) + 0.5) / width
    y = (torch.arange(height, dtype=share.dtype) + 0.5) / height
    row, column = divmod(int(share.argmax()), width)
    centre = float((share.sum(0) * x).sum()), float((share.sum(1) * y).sum())
    cumulative = share.flatten().sort(descending=True).values.cumsum(0)
    pixels = int((cumulative < 0.5 - 1e-12).sum()) + 1
    return (float(x[column]), float(y[row])), centre, pixels / share.numel()
