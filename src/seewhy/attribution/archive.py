"""Convert explanations to tensors and JSON metadata, and back, bit for bit.

An archive holds the tensors of each explanation (`0.heatmap`, `0.logits`, ...), the batch once
(`pixels`, `picture.0`, ...), and one JSON text with everything that is not a tensor. A picture with
several questions is stored once.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.drawing import as_panel
from seewhy.attribution.explanation import Cost, Explanation, Panel, Provenance
from seewhy.errors import SeewhyError
from seewhy.images import Batch, Picture, View
from seewhy.results.archive import other_data

FORMAT = "seewhy-explanation-2"
OPTIONAL = ("residual", "constants")
TENSORS = ("heatmap", "attribution", "target", "score", "logits", *OPTIONAL)


def pack(thing: Explanation | Panel) -> tuple[dict[str, Tensor], str]:
    """Return the tensors, on the CPU, and the JSON metadata of an explanation or a panel."""
    panel = as_panel(thing)
    batch = panel.explanations[0].batch
    pictures = list({id(p): p for p in batch.pictures}.values())
    picture_index = {id(p): i for i, p in enumerate(pictures)}
    tensors = {"pixels": batch.pixels}
    tensors |= {f"picture.{i}": _compact(p.pixels) for i, p in enumerate(pictures)}
    for i, explanation in enumerate(panel.explanations):
        named = {f"{i}.{name}": getattr(explanation, name) for name in TENSORS}
        tensors |= {name: tensor for name, tensor in named.items() if tensor is not None}
    metadata = {
        "format": FORMAT,
        "panel": isinstance(thing, Panel),
        "skipped": panel.skipped,
        "pictures": [{"source": p.source, "notes": p.notes} for p in pictures],
        "which": [picture_index[id(p)] for p in batch.pictures],
        "views": [dataclasses.asdict(view) for view in batch.views],
        "explanations": [_metadata(e) for e in panel.explanations],
    }
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return on_cpu, json.dumps(_plain(metadata), allow_nan=False)


def unpack(tensors: Mapping[str, Tensor], metadata: str) -> Explanation | Panel:
    """Rebuild the explanation or panel that `pack` converted; raises SeewhyError for other data."""
    try:
        data = _restore(json.loads(metadata))
        if data["format"] != FORMAT:
            raise SeewhyError(f"expected the format {FORMAT!r}, got {data['format']!r}")
        batch = _batch(tensors, data)
        explanations = tuple(
            _explanation(i, tensors, fields, batch) for i, fields in enumerate(data["explanations"])
        )
        return Panel(explanations, data["skipped"]) if data["panel"] else explanations[0]
    except SeewhyError:
        raise
    except Exception as error:  # other data may contradict an explanation in any way
        raise other_data(error) from error


def _metadata(explanation: Explanation) -> dict[str, Any]:
    fields = ("classes", "signed", "notes", "labels", "outputs")
    values = {name: getattr(explanation, name) for name in fields}
    nested = {name: vars(getattr(explanation, name)) for name in ("provenance", "cost")}
    return values | nested


def _explanation(
    index: int, tensors: Mapping[str, Tensor], data: Mapping[str, Any], batch: Batch
) -> Explanation:
    named = {name: tensors[f"{index}.{name}"] for name in TENSORS if name not in OPTIONAL}
    named |= {name: tensors.get(f"{index}.{name}") for name in OPTIONAL}
    provenance, cost = Provenance(**data["provenance"]), Cost(**data["cost"])
    values = {**data, **named, "provenance": provenance, "cost": cost}
    explanation = Explanation(**values, batch=batch)
    maps, labels, target = len(explanation.heatmap), len(explanation.labels), explanation.target
    if len(batch) != maps or labels not in (0, maps):
        raise ValueError(f"{len(batch)} pictures and {labels} labels for {maps} maps")
    if not bool(((target >= -1) & (target < explanation.logits.shape[1])).all()):
        raise ValueError("a target that is no class")
    return explanation


def _batch(tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> Batch:
    pictures = tuple(
        Picture(_widen(tensors[f"picture.{i}"]), **fields)
        for i, fields in enumerate(data["pictures"])
    )
    pictures = tuple(pictures[i] for i in data["which"])
    return Batch(tensors["pixels"], pictures, tuple(View(**view) for view in data["views"]))


def _compact(pixels: Float[Tensor, "3 height width"]) -> Tensor:
    """Convert to 8 bits per value if that is lossless, as for pictures from 8-bit files."""
    quantised = (pixels * 255).round().to(torch.uint8)
    return quantised if torch.equal(_widen(quantised), pixels) else pixels


def _widen(pixels: Tensor) -> Tensor:
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def _plain(value: Any) -> Any:
    """Convert values to JSON that `_restore` can convert back, including tuples and infinities."""
    match value:
        case float() if not math.isfinite(value):
            return {"#float": repr(value)}
        case bool() | int() | float() | str() | None:
            return value
        case tuple():
            return {"#tuple": [_plain(v) for v in value]}
        case Sequence():
            return [_plain(v) for v in value]
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case Tensor() | np.ndarray() | np.generic():
            return _plain(value.tolist())
    return str(value)  # devices, dtypes and paths in the provenance, for display only


def _restore(value: Any) -> Any:
    match value:
        case {"#float": text}:
            return float(text)
        case {"#tuple": items}:
            return tuple(_restore(v) for v in items)
        case list():
            return [_restore(v) for v in value]
        case dict():
            return {k: _restore(v) for k, v in value.items()}
    return value
