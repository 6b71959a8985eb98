"""Explanations as plain data for other programs: dicts, lists, numbers and text."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from seewhy.attribution.explanation import Explanation
from seewhy.show.statistics import statistics


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
        "view": vars(one.batch.views[0]),
        "statistics": vars(statistics(one.heatmap[0])),
    }
    return values | ({"heatmap": one.heatmap[0]} if maps else {})


def jsonable(value: Any) -> Any:
    """The value as JSON has it: six significant digits, None for NaN and infinities."""
    match value:
        case float():
            return float(f"{value:.6g}") if math.isfinite(value) else None
        case bool() | int() | str() | None:
            return value
        case list() | tuple():
            return [jsonable(v) for v in value]
        case Mapping():
            return {str(k): jsonable(v) for k, v in value.items()}
        case Tensor() | np.ndarray() | np.generic():
            return jsonable(value.tolist())
    return str(value)
