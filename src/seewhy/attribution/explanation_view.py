"""How explanations and panels of them are shown: figure, text, numbers, page and archive."""

from typing import Any

from seewhy.attribution.archive import pack
from seewhy.attribution.drawing import as_panel
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.explanation_text import summary, target_text
from seewhy.attribution.figure import figure, image
from seewhy.attribution.report import report_html
from seewhy.show.jsonable import jsonable
from seewhy.show.statistics import statistics

__all__ = ["data", "figure", "image", "pack", "page", "readable", "target_text", "text"]


def text(result: Explanation | Panel) -> str:
    """A few plain lines on every picture and method, and the methods that were skipped."""
    panel = as_panel(result)
    parts = [summary(explanation) for explanation in panel]
    parts += [f"skipped   {name}: {reason}" for name, reason in panel.skipped]
    return "\n\n".join(parts)


def page(result: Explanation | Panel) -> str:
    """The report."""
    return report_html([result])


def data(result: Explanation | Panel) -> dict[str, Any]:
    """Every explanation with its maps, and the methods that were skipped."""
    panel = as_panel(result)
    explanations = [readable(explanation, maps=True) for explanation in panel]
    return {"explanations": explanations, "skipped": dict(panel.skipped)}


def readable(explanation: Explanation, maps: bool = False) -> dict[str, Any]:
    """Provenance, and per picture its predictions and the map's statistics; valid as JSON.

    A target that is no class has no index and no probability, but a score like any other. Of a
    model whose outputs are no logits, what is at the top has scores and no probabilities.
    With `maps`, the heatmaps too, as rows of numbers. Numbers have six significant digits;
    NaN and infinities are None, and the statistics count them.
    """
    pictures = [_picture(one, maps) for one in explanation]
    values = {
        "provenance": vars(explanation.provenance),
        "signed": explanation.signed,
        "raw": explanation.raw,
        "cost": vars(explanation.cost),
        "notes": explanation.notes,
        "pictures": pictures,
    }
    return jsonable(values)


def _picture(one: Explanation, maps: bool) -> dict[str, Any]:
    index = int(one.target[0])
    values = {
        "source": one.batch.pictures[0].source,
        "notes": one.batch.pictures[0].notes,
        "target": {"index": index if index >= 0 else None, "name": one.target_names[0]},
        "score": float(one.score[0]),
        "probability": float(one.probabilities[0]),
        "top": [
            {"name": name, "score" if one.raw else "probability": value}
            for name, value in one.top()[0]
        ],
        "residual": None if one.residual is None else float(one.residual[0]),
        "constants": None if one.constants is None else float(one.constants[0]),
        "view": vars(one.batch.views[0]),
        "statistics": vars(statistics(one.heatmap[0])),
    }
    return values | ({"heatmap": one.heatmap[0]} if maps else {})
