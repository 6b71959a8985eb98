"""Draw a map over its picture, for a figure or a page."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seewhy.show.colour import Range, scale
from seewhy.show.overlay import map_only, overlay, rgb, smooth
from seewhy.show.statistics import Statistics, statistics
from seewhy.show.text import number


@dataclass(frozen=True)
class Drawing:
    """The images of one map; `span` holds the values at the ends of its colours.

    `sigma` is that of the smoothing for display, in pixels; `statistics` are those of the raw map.
    """

    picture: Float[Tensor, "3 height width"]
    overlay: Float[Tensor, "3 height width"]
    map: Float[Tensor, "3 height width"]
    span: Range
    sigma: float
    statistics: Statistics

    @property
    def ends(self) -> tuple[str, str]:
        """The values at the two ends of the colours, with ≤ or ≥ if some values lie beyond."""
        low = "≤ " if self.statistics.minimum < self.span.low else ""
        high = "≥ " if self.statistics.maximum > self.span.high else ""
        return low + number(self.span.low), high + number(self.span.high)


def draw_over(
    picture: Float[Tensor, "channels height width"],
    raw: Float[Tensor, "height width"],
    signed: bool,
    sigma: float = 0.0,
) -> Drawing:
    """Draw a map over a picture, smoothed with a sigma of `sigma` pixels."""
    picture = rgb(picture)
    shown = smooth(raw, sigma)
    span = scale(shown, signed)
    return Drawing(
        picture=picture,
        overlay=overlay(picture, shown, signed, span),
        map=map_only(shown, signed, span),
        span=span,
        sigma=sigma,
        statistics=statistics(raw),
    )
