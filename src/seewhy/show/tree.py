"""Show a value and its contents as a collapsible HTML tree, with the statistics of tensors."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from seewhy.show.text import html, number

MOST = 12  # entries shown of a list or mapping; the rest are only counted
LETTERS = 100  # characters shown of a value
FEW = 6  # tensors with at most this many numbers are written out
BINS, TALL = 24, 14  # of a histogram: its bars, and its height in pixels
SAMPLE = 1_000_000  # values used for a histogram and a range


def tree(name: str, value: Any) -> str:
    """Return the HTML of a value under its name; nested values are collapsed."""
    parts = _parts(value)
    if parts is None:
        return f"<div class=leaf>{_label(name)} {_line(value)}</div>"
    inside = "".join(tree(key, part) for key, part in itertools.islice(parts, MOST))
    size = len(value) if isinstance(value, Mapping | list | tuple) else 0
    more = f"<div class=leaf>… {size - MOST:,} more</div>" if size > MOST else ""
    kind = type(value).__name__ + (f", {size:,}" if size else "")
    summary = f"<summary>{_label(name)} <i>{html(kind)}</i></summary>"
    return f"<details>{summary}<div class=inside>{inside}{more}</div></details>"


def _parts(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Return the contents of a value by name; None if it fits on one line."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, Mapping) and value:
        return ((str(key), part) for key, part in value.items())
    plain = str | int | float | bool | None
    if isinstance(value, list | tuple) and not all(isinstance(part, plain) for part in value):
        return ((str(i), part) for i, part in enumerate(value))
    return None


def _label(name: str) -> str:
    return f"<b>{html(name)}</b>"


def _line(value: Any) -> str:
    if isinstance(value, Tensor):
        return _tensor(value.detach())
    if isinstance(value, list | tuple) and len(value) > MOST:
        text = f"{len(value):,}: {', '.join(map(str, value[:3]))}, …"
    elif isinstance(value, float):
        text = number(value)
    elif callable(value):
        text = getattr(value, "__name__", type(value).__name__)
    else:
        text = str(value) if isinstance(value, str) else repr(value)
    return html(text if len(text) <= LETTERS else text[: LETTERS - 1] + "…")


def _tensor(values: Tensor) -> str:
    """Return type and shape, then the numbers themselves or their range and histogram."""
    shape = " × ".join(map(str, values.shape)) or "one number"
    kind = f"<i>{str(values.dtype).removeprefix('torch.')} [{shape}]</i>"
    flat = values.flatten().cpu()
    if flat.numel() <= FEW:
        return f"{kind} {html(', '.join(number(float(v)) for v in flat))}"
    flat = flat[:: math.ceil(len(flat) / SAMPLE)].double()
    finite = flat[flat.isfinite()]
    not_finite = len(flat) - len(finite)
    note = f" · {not_finite:,} not finite" if not_finite else ""
    if not finite.numel():
        return kind + note
    low, high = float(finite.min()), float(finite.max())
    return f"{kind} {number(low)} to {number(high)}{note} {_histogram(finite, low, high)}"


def _histogram(finite: Tensor, low: float, high: float) -> str:
    """Draw the bars as one SVG path; a bar that is not empty is at least one pixel high."""
    if not low < high or not math.isfinite(high - low):
        return ""
    counts = torch.histc((finite - low) / (high - low), BINS, 0, 1)
    heights = (counts / counts.max() * TALL).ceil().int().tolist()
    bars = "".join(f"M{3 * i},{TALL}v-{h}h2v{h}z" for i, h in enumerate(heights) if h)
    return (
        f'<svg width="{3 * BINS}" height="{TALL}" role="img" '
        f'aria-label="histogram"><path d="{bars}" fill="currentColor"/></svg>'
    )
