"""Draw maps as images, figures and pages, and describe them in text, for any kind of result."""

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
    """Save a result in the format that the suffix names; see `Result.save`."""
    return result.save(path)
