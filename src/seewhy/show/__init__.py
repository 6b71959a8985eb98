"""Numbers and pixels become pictures, pages and words; nothing here knows a kind of result."""

from pathlib import Path

from seewhy.results import Result, load
from seewhy.show.colour import Range, diverging, scale, sequential
from seewhy.show.overlay import map_only, overlay

__all__ = [
    "Range",
    "diverging",
    "load",
    "map_only",
    "overlay",
    "save",
    "scale",
    "sequential",
]


def save(result: Result, path: str | Path) -> Path:
    """Write any result by suffix; see `Result.save`."""
    return result.save(path)
