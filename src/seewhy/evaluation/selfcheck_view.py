"""The table of a self-check: as a figure, as numbers for other programs, in words."""

import textwrap
from typing import TYPE_CHECKING, Any

from seewhy.evaluation.checks.check import DIFFERS, NOT_APPLICABLE, OK, Check
from seewhy.evaluation.selfcheck import SelfCheck
from seewhy.show.figure_grid import FAINT, INK, LINE, MARGIN
from seewhy.show.glyphs import write
from seewhy.show.jsonable import jsonable
from seewhy.show.text import joined, name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = {OK: "ok", DIFFERS: "DIFFERS", NOT_APPLICABLE: "n/a"}
COLOURS = {OK: "#2b8a3e", DIFFERS: "#d9480f", NOT_APPLICABLE: FAINT}
WIDE = 100  # letters in a line of text
WIDTH = 8.5  # of the figure, in inches
LETTERS = 120  # in a line of the figure
COLUMNS = (0.0, 0.75, 5.0, 6.0)  # verdict, name, value, bound, in inches from the left


def text(check: SelfCheck) -> str:
    """The model and the picture, the number of rows with each verdict, and the table."""
    lines = [f"{label:<10}{words}" for label, words in _head(check)]
    mark, name = (max(map(len, column)) for column in _columns(check))
    for topic, rows in _topics(check).items():
        lines += ["", topic]
        for row in rows:
            line = f"  {MARKS[row.verdict]:<{mark}}  {row.name:<{name}}  {_value(row):>8}"
            lines.append(f"{line}  {row.bound}".rstrip())
            indent = " " * (4 + mark)
            for words in (row.measured, row.reason):
                wrapped = textwrap.wrap(words, WIDE - len(indent))
                lines += [indent + part for part in wrapped]
    return joined(lines)


def figure(check: SelfCheck) -> "Figure":
    """A matplotlib figure: the table, with a colour for each verdict."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = _figure_lines(check)
    height = (len(lines) + 1) * LINE + 2 * MARGIN
    drawn = Figure(figsize=(WIDTH, height), facecolor="white")
    FigureCanvasAgg(drawn)
    for number, cells in enumerate(lines):
        for left, words, colour in cells:
            x, y = (MARGIN + left) / WIDTH, 1 - (MARGIN + (number + 0.5) * LINE) / height
            write(drawn, x, y, words, fontsize=7.5, color=colour, va="center")
    return drawn


def data(check: SelfCheck) -> dict[str, Any]:
    """The rows, valid as JSON."""
    return jsonable(
        {
            "model": check.model,
            "picture": check.picture,
            "size": check.size,
            "target": check.target,
            "ok": check.ok,
            "counts": check.counts,
            "seconds": check.seconds,
            "checks": [vars(row) for row in check.checks],
        }
    )


def _head(check: SelfCheck) -> list[tuple[str, str]]:
    height, width = check.size
    counts = ", ".join(f"{count} {verdict}" for verdict, count in check.counts.items() if count)
    return [
        ("model", f"{check.model}: {counts}"),
        ("picture", f"{name_of(check.picture)}, {height} x {width}; explained: {check.target}"),
        ("took", f"{check.seconds:.1f} s"),
    ]


def _topics(check: SelfCheck) -> dict[str, list[Check]]:
    topics: dict[str, list[Check]] = {}
    for row in check.checks:
        topics.setdefault(row.topic, []).append(row)
    return topics


def _columns(check: SelfCheck) -> tuple[list[str], list[str]]:
    return [MARKS[row.verdict] for row in check.checks], [row.name for row in check.checks]


def _value(row: Check) -> str:
    """Two significant digits, counts as whole numbers."""
    if row.value is None:
        return ""
    return f"{row.value:.0f}" if row.value.is_integer() else f"{row.value:.2g}"


def _figure_lines(check: SelfCheck) -> list[list[tuple[float, str, str]]]:
    """The words of each line with where they begin, in inches, and their colour."""
    verdict, name, value, bound = COLUMNS
    lines = [[(verdict, label, FAINT), (name, words, INK)] for label, words in _head(check)]
    for topic, rows in _topics(check).items():
        lines += [[], [(verdict, topic, FAINT)]]
        for row in rows:
            lines.append(
                [
                    (verdict, MARKS[row.verdict], COLOURS[row.verdict]),
                    (name, row.name, INK),
                    (value, _value(row), INK),
                    (bound, row.bound, FAINT),
                ]
            )
            for words, colour in ((row.measured, FAINT), (row.reason, INK)):
                lines += [[(name, part, colour)] for part in textwrap.wrap(words, LETTERS)]
    return lines
