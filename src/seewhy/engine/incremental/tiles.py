"""Cut tiles out of a map, and paste them into larger tiles."""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from seewhy.engine.incremental.spans import Span

Spans = tuple[Span, Span]


def cut(whole: Shaped[Tensor, "1 *map"], axis: int, spans: Spans) -> Shaped[Tensor, "copies *tile"]:
    """Return the tiles of one map at spans of its axes `axis` and `axis + 1`, in its layout."""
    rows, columns = spans
    last = whole.movedim((axis, axis + 1), (1, 2))
    if not last.is_contiguous():
        pieces = [
            whole.narrow(axis, top, rows.size).narrow(axis + 1, left, columns.size)
            for top, left in zip(rows.starts.tolist(), columns.starts.tolist(), strict=True)
        ]
        return torch.cat(pieces)
    # The channels of a cell are contiguous, so copying cell by cell is fastest.
    down = rows.starts[:, None, None] + np.arange(rows.size)[:, None]
    across = columns.starts[:, None, None] + np.arange(columns.size)
    cells = torch.from_numpy((down * columns.length + across).reshape(-1)).to(whole.device)
    picked = last.reshape(rows.length * columns.length, -1).index_select(0, cells)
    shape = (len(rows.starts), rows.size, columns.size, *last.shape[3:])
    return picked.view(shape).movedim((1, 2), (axis, axis + 1))


def paste(
    region: Shaped[Tensor, "copies *region"],
    tiles: Shaped[Tensor, "copies *tile"],
    axis: int,
    into: Spans,
    at: Spans,
) -> None:
    """Write tiles at the spans `at` into a region at the spans `into`, where they overlap.

    Consecutive copies with the same offset in their regions are written together.
    """
    offsets = np.stack([at[i].starts - into[i].starts for i in (0, 1)], 1)
    changes = np.flatnonzero((offsets[1:] != offsets[:-1]).any(1)) + 1
    for begin, end in pairwise([0, *changes.tolist(), len(offsets)]):
        source, target = tiles[begin:end], region[begin:end]
        for i, offset in enumerate(offsets[begin].tolist()):
            first = min(max(offset, 0), into[i].size)
            count = max(min(offset + at[i].size, into[i].size) - first, 0)
            target = target.narrow(axis + i, first, count)
            source = source.narrow(axis + i, first - offset if count else 0, count)
        target.copy_(source)
