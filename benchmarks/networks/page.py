"""docs/networks.md, from the lines of a sweep."""

from pathlib import Path

from benchmarks.networks.checks import LEAST_CORRELATION
from benchmarks.networks.sweep import Row, is_right

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
COLUMNS = {
    "batch": "batch",
    "gradient": "gradient",
    "lrp": "LRP",
    "deep-lift": "DeepLIFT",
    "fullgrad": "FullGrad",
    "cam": "cells",
}


def page(rows: list[Row]) -> str:
    """The page: what was checked, a row for each family, what is refused and why."""
    return ""
