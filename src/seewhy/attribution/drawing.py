"""Draw one picture's map, for a figure or a page."""

from seewhy.attribution.explanation import Explanation, Panel
from seewhy.errors import SeewhyError
from seewhy.show.drawing import Drawing, draw_over


def draw(explanation: Explanation, index: int = 0) -> Drawing:
    """Draw the map of picture `index` over the model's input."""
    raw = explanation.heatmap[index].detach().cpu().float()
    picture = explanation.batch.pixels[index].detach().cpu()
    return draw_over(picture, raw, explanation.signed, display_sigma(explanation))


def display_sigma(explanation: Explanation) -> float:
    """Return the sigma of smoothing for display: 1 px at 224 px, for pixel-level maps only."""
    side = min(explanation.heatmap.shape[1:])
    pixel_level = explanation.attribution.shape[2:] == explanation.heatmap.shape[1:]
    return round(side / 224, 2) if pixel_level and side >= 112 else 0.0


def as_panel(thing: Explanation | Panel) -> Panel:
    """Wrap a single explanation in a panel; raises SeewhyError for a panel without explanations."""
    panel = Panel((thing,)) if isinstance(thing, Explanation) else thing
    if not panel.explanations:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in panel.skipped)
        raise SeewhyError(f"nothing to show: none of the panel's methods applies ({reasons})")
    return panel
