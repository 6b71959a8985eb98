"""One picture under one method, ready to be placed on a figure or a page."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.explanation import Explanation, Panel
from seewhy.errors import SeewhyError
from seewhy.show.colour import Range, scale
from seewhy.show.overlay import map_only, overlay, rgb, smooth
from seewhy.show.statistics import Statistics, statistics


@dataclass(frozen=True)
class Drawing:
    """The images of one map; `span` holds the values at the ends of its colours.

    `sigma` tells how much the map was smoothed for display, in pixels; `statistics` are those
    of the raw map.
    """

    picture: Float[Tensor, "3 height width"]
    overlay: Float[Tensor, "3 height width"]
    map: Float[Tensor, "3 height width"]
    span: Range
    sigma: float
    statistics: Statistics


def draw(explanation: Explanation, index: int = 0) -> Drawing:
    """Draw the map of picture `index` over what the model saw."""
    raw = explanation.heatmap[index].detach().cpu().float()
    picture = explanation.batch.pixels[index].detach().cpu()
    return draw_over(picture, raw, explanation.signed, display_sigma(explanation))


def draw_over(
    picture: Float[Tensor, "channels height width"],
    raw: Float[Tensor, "height width"],
    signed: bool,
    sigma: float = 0.0,
) -> Drawing:
    """Draw a map over a picture, smoothed by `sigma` pixels."""
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


def display_sigma(explanation: Explanation) -> float:
    """How far a map is smoothed for display: a pixel in 224, and only if it is made of pixels."""
    side = min(explanation.heatmap.shape[1:])
    pixel_level = explanation.attribution.shape[2:] == explanation.heatmap.shape[1:]
    return round(side / 224, 2) if pixel_level and side >= 112 else 0.0


def as_panel(thing: Explanation | Panel) -> Panel:
    """A single explanation as a panel of one; a panel without any raises `SeewhyError`."""
    panel = Panel((thing,)) if isinstance(thing, Explanation) else thing
    if not panel.explanations:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in panel.skipped)
        raise SeewhyError(f"nothing to show: no method of this panel applies ({reasons})")
    return panel
