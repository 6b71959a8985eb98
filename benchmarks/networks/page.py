"""docs/networks.md, from the lines of a sweep."""

from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.networks.checks import LEAST_CORRELATION, LIMITS
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

HEAD = """# Is my network read correctly?

seewhy runs an unmodified network and watches its operations. Whether it reads them rightly can be
checked without knowing what a right map looks like: gradients can be compared with finite
differences, and LRP, DeepLIFT and FullGrad promise sums. This page has those checks for
{families} families of networks, each a module of
[timm](https://github.com/huggingface/pytorch-image-models).

{summary}

On your own network the same numbers come with every answer: `explain(...).residual` is what is
missing from the sum that a method promises, as a share; `seewhy layers -m MODEL` shows the grid
of each layer. An operation that a method has no rule for is named, and the method refuses;
gradients, CAMs and methods that change the picture need no rules.

## How the table is made

`python -m benchmarks.networks` builds the smallest variant of each family at the smallest size
that it takes (from 96 px), and writes this page. Weights are random; layer scales, tokens and
biases that start as constants are moved, so that each layer counts, and batch normalisations get
the statistics of pictures. Networks run in float64 (where they do not, "float32" stands beside
the size, and limits are a hundred times as wide). The columns:

- **batch**: the largest difference of logits and pixel gradients between three pictures at once
  and one by one, as a share of the largest value; at most {batch:.0e}.
- **gradient**: the gradient along random directions against the central difference of the logit,
  as a share of the gradient's norm; at most {gradient:.0e}.
- **LRP**: what is missing from the score in the relevance of pixels and constants, under
  `lrp-epsilon` with an epsilon of 1e-9, as a share of the score; at most {lrp:.0e}.
- **DeepLIFT**: what is missing from the rise of the score above that of the mean colour; at most
  {deep_lift:.0e}.
- **FullGrad**: what is missing from the score in the shares of pixels and biases; at most
  {fullgrad:.0e}.
- **cells**: whether the cells of the layer that CAMs read lie where they are drawn: parts of the
  picture are changed, and this is the correlation of their places with the places where the layer
  changes; 1 at best, at least {cam}. On small pictures a cell may see all of it, so larger ones
  are tried (224 and 384 px) where it is less; "spread" where cells change alike even then,
  whichever part is changed: a CAM of such a layer tells little about places.

A letter stands for a reason why a method refuses; reasons are listed below the table. Numbers
that are not within their limits are **bold**.
"""

TABLE = (
    "\n| family | variant | size | parameters | "
    + " | ".join(COLUMNS.values())
    + " |\n|"
    + "---|" * (4 + len(COLUMNS))
    + "\n"
)


def page(rows: list[Row]) -> str:
    """The page: what was checked, a row for each family, what is refused and why."""
    run = [row for row in rows if "checks" in row]
    reasons = _reasons(run)
    limits = {name.replace("-", "_"): limit for name, limit in LIMITS.items()}
    parts = [
        HEAD.format(
            families=len(rows), summary=_summary(rows, run), cam=LEAST_CORRELATION, **limits
        ),
        TABLE,
        *(_row(row, reasons) for row in run),
        *_refusals(run, reasons),
        *_not_run([row for row in rows if "checks" not in row]),
    ]
    return "".join(parts)


def _summary(rows: list[Row], run: list[Row]) -> str:
    lines = [
        "| check | within its limit | refused, by name | spread | not right | median |",
        "|---|---|---|---|---|---|",
    ]
    for check, name in COLUMNS.items():
        found = [(row["checks"][check], row["double"]) for row in run]
        refused = sum("refused" in one for one, _ in found)
        unsettled = sum("open" in one for one, _ in found)
        right = sum(is_right(check, *one) for one in found) - refused - unsettled
        values = [one["value"] for one, _ in found if "value" in one]
        lines.append(
            f"| {name} | {right} | {refused} | {unsettled} "
            f"| {len(found) - right - refused - unsettled} "
            f"| {_written(check, median(values))} |"
        )
    return "\n".join(lines)


def _row(row: Row, reasons: dict[str, str]) -> str:
    size = f"{row['size']}" + ("" if row["double"] else ", float32")
    cells = [_cell(check, row, reasons) for check in COLUMNS]
    start = f"| {row['family']} | `{row['variant']}` | {size} | {row['parameters'] / 1e6:.1f}M | "
    return start + " | ".join(cells) + " |\n"


def _cell(check: str, row: Row, reasons: dict[str, str]) -> str:
    found = row["checks"][check]
    if "refused" in found:
        return reasons[_reason(found["refused"], row["variant"])]
    if "failed" in found:
        return "**failed**"
    if "open" in found:
        return "spread"
    written = _written(check, found["value"])
    return written if is_right(check, found, row["double"]) else f"**{written}**"


def _written(check: str, value: float) -> str:
    return f"{value:.2f}" if check == "cam" else f"{value:.0e}"


def _reason(refusal: str, variant: str) -> str:
    """A refusal without the name of the network, so that the same reason is listed once."""
    return refusal.replace(variant, "the network")


def _reasons(run: list[Row]) -> dict[str, str]:
    """A letter for each reason why some method refuses, in the order of the table."""
    refusals = [
        _reason(row["checks"][check]["refused"], row["variant"])
        for row in run
        for check in COLUMNS
        if "refused" in row["checks"][check]
    ]
    return {reason: _letter(number) for number, reason in enumerate(dict.fromkeys(refusals))}


def _letter(number: int) -> str:
    """a to z, then aa, ab and so on."""
    more, last = divmod(number, 26)
    return (_letter(more - 1) if more else "") + chr(ord("a") + last)


def _refusals(run: list[Row], reasons: dict[str, str]) -> list[str]:
    if not reasons:
        return []
    families = defaultdict(dict)
    for row in run:
        for found in row["checks"].values():
            if "refused" in found:
                families[_reason(found["refused"], row["variant"])][row["family"]] = None
    lines = [
        f"| {letter} | {reason} | {', '.join(families[reason])} |\n"
        for reason, letter in reasons.items()
    ]
    return ["\n## What is refused, and why\n\n| | reason | families |\n|---|---|---|\n", *lines]


def _not_run(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    return [
        "\n## Not checked\n\n",
        *(f"- {row['family']}: {row['not run']}\n" for row in rows),
    ]
