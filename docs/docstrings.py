"""Convert docstrings to reStructuredText: their lists are written as running paragraphs.

    - `kept`: per picture and area. - `whole`: with the whole
    picture.

becomes a list of two items.
"""

import re
from itertools import groupby

_ITEM = re.compile(r"(?:^|(?<=[.;:)]) )- (?=`)")


def lists(app, what, name, thing, options, lines: list[str]) -> None:
    """Put each list item on a line of its own, between blanks; for autodoc-process-docstring."""
    lines[:] = [new for block in _blocks(lines) for new in _spread(block)]


def _blocks(lines: list[str]) -> list[list[str]]:
    """Return the blocks of lines between blank lines."""
    return [list(run) for blank, run in groupby(lines, lambda line: not line.strip()) if not blank]


def _spread(block: list[str]) -> list[str]:
    first = next((i for i, line in enumerate(block) if line.startswith("- `")), None)
    if first is None:
        return [*block, ""]
    text = " ".join(line.strip() for line in block[first:])
    items = [f"- {item.strip()}" for item in _ITEM.split(text) if item.strip()]
    before = [*block[:first], ""] if first else []
    return [*before, *(line for item in items for line in (item, ""))]
