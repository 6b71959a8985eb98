"""The view of explanations and panels: figure, text, numbers, page and archive."""

from typing import Any

from seewhy.attribution.archive import pack
from seewhy.attribution.drawing import as_panel
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.explanation_text import summary, target_text
from seewhy.attribution.figure import figure, image
from seewhy.attribution.report import report_html
from seewhy.show.jsonable import jsonable
from seewhy.show.statistics import statistics
from seewhy.support.printable import printable

__all__ = ["data", "figure", "image", "pack", "page", "readable", "target_text", "text"]


def text(result: Explanation | Panel) -> str:
    """Return a few lines of plain text per method and picture, and the skipped methods."""
    panel = as_panel(result)
    parts = [summary(explanation) for explanation in panel]
    parts += [printable(f"skipped   {name}: {reason}") for name, reason in panel.skipped]
    return "\n\n".join(parts)


def page(result: Explanation | Panel) -> str:
    """Return the HTML report."""
    return report_html([result])


def data(result: Explanation | Panel) -> dict[str, Any]:
    """Return every explanation with its maps, and the skipped methods."""
    panel = as_panel(result)
    explanations = [readable(explanation, maps=True) for explanation in panel]
    return {"explanations": explanations, "skipped": dict(panel.skipped)}


def readable(explanation: Explanation, maps: bool = False) -> dict[str, Any]:
    """Return the provenance, predictions and map statistics as values that are valid JSON.

    A target that is not a class has a score, but no index and no probability. If the model's
    outputs are not logits, `top` holds scores instead of probabilities. With `maps`, the heatmaps
    are included as rows of numbers. Numbers have six significant digits; NaN and infinities become
    None, and the statistics count them.
    """
    pictures = [_picture(picture, maps) for picture in explanation]
    values = {
        "provenance": vars(explanation.provenance),
        "signed": explanation.signed,
        "outputs": explanation.outputs,
        "cost": vars(explanation.cost),
        "notes": explanation.notes,
        "pictures": pictures,
    }
    return jsonable(values)


def _picture(explanation: Explanation, maps: bool) -> dict[str, Any]:
    """Return the values of the only picture of the explanation."""
    index, name = int(explanation.target[0]), explanation.target_names[0]
    residual, constants = explanation.residual, explanation.constants
    values = {
        "source": explanation.batch.pictures[0].source,
        "notes": explanation.batch.pictures[0].notes,
        "target": {"index": index if index >= 0 else None, "name": name},
        "score": float(explanation.score[0]),
        "probability": float(explanation.probabilities[0]),
        "top": [
            {"name": name, "score" if explanation.raw else "probability": value}
            for name, value in explanation.top()[0]
        ],
        "residual": None if residual is None else float(residual[0]),
        "constants": None if constants is None else float(constants[0]),
        "view": vars(explanation.batch.views[0]),
        "statistics": vars(statistics(explanation.heatmap[0])),
    }
    return values | ({"heatmap": explanation.heatmap[0]} if maps else {})
