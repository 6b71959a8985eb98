"""Docstrings of this project as reStructuredText: their lists run on like a paragraph.

    - `kept`: per picture and area. - `whole`: with the whole
    picture.

is a list of two items.
"""

import re
from itertools import groupby

_ITEM = re.compile(r"(?:^|(?<=[.;:)]) )- (?=`)")


def lists(app, what, name, thing, options, lines: list[str]) -> None:
    """Give each item of a list a line and a blank line before it; for autodoc-process-docstring."""
    lines[:] = [new for block in _blocks(lines) for new in _spread(block)]


def _blocks(lines: list[str]) -> list[list[str]]:
    """The runs of lines between blank ones."""
    return [list(run) for blank, run in groupby(lines, lambda line: not line.strip()) if not blank]


def _spread(block: list[str]) -> list[str]:
    first = next((i for i, line in enumerate(block) if line.startswith("- `")), None)
    if first is None:
        return [*block, ""]
    text = " ".join(line.strip() for line in block[first:])
    items = [f"- {item.strip()}" for item in _ITEM.split(text) if item.strip()]
    before = [*block[:first], ""] if first else []
    return [*before, *(line for item in items for line in (item, ""))]
