"""Numbers, percentages, names and map statistics as text."""

import math
from collections.abc import Iterable
from html import escape

from seewhy.images import Picture
from seewhy.show.colour import CLIP, PEDESTAL
from seewhy.show.statistics import Statistics
from seewhy.support.printable import printable


def joined(lines: Iterable[str]) -> str:
    r"""Join lines with newlines; in a line, characters that a terminal would obey are escaped.

    A newline in a name is escaped too, so that a name cannot look like a line of its own.
    """
    return "\n".join(printable(line) for line in lines)


def html(text: str) -> str:
    """Return text for HTML, in an element or a quoted attribute; invisible characters are
    escaped, as they could reverse what is read or are not allowed in a page."""
    return escape(printable(text, keep="\n"))


def picture_name(picture: Picture) -> str:
    """Return the picture's file name without folders, or its source."""
    return name_of(picture.source)


def name_of(source: str) -> str:
    """Return the last part of a picture's source."""
    return source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or source


def number(value: float) -> str:
    """Format with three significant digits, a true minus sign and no negative zero."""
    return f"{value or 0.0:.3g}".replace("-", "−")


def percent(share: float) -> str:
    """Format a fraction as "41 %", with a decimal near 0 and 1: "0.3 %", "99.5 %", "< 0.1 %"."""
    if not math.isfinite(share):
        return "not a number"
    size = abs(share)
    if 0 < size < 0.0005:
        return "< 0.1 %"
    plain = 0.095 <= size <= 0.905 or size in (0, 1)
    return f"{100 * share:.{0 if plain else 1}f} %"


def range_text(numbers: Statistics, signed: bool) -> str:
    """Return the range of values, and for signed maps how much is for and against the target."""
    text = f"{number(numbers.minimum)} to {number(numbers.maximum)}"
    if signed and not numbers.all_zero:
        text += f"; {percent(numbers.positive)} for, {percent(numbers.negative)} against"
    return text


def place_text(numbers: Statistics) -> str:
    """Return where the evidence lies."""
    if numbers.peak is None or numbers.centre is None or numbers.half_area is None:
        return "nowhere: the map has no evidence"
    across, down = map(percent, numbers.peak)
    middle_across, middle_down = map(percent, numbers.centre)
    return (
        f"strongest at {across} from the left, {down} from the top; "
        f"centre of mass at {middle_across}, {middle_down}; "
        f"half of the evidence lies in {percent(numbers.half_area)} of the picture"
    )


def brief_place_text(numbers: Statistics) -> str:
    """Return where the evidence lies, in fewer words."""
    if numbers.peak is None or numbers.half_area is None:
        return "no evidence anywhere"
    across, down = map(percent, numbers.peak)
    return (
        f"peak {across} from the left, {down} from the top; "
        f"half of the evidence in {percent(numbers.half_area)} of the area"
    )


def scale_text() -> str:
    """Return how the colours of a map are scaled, in one line."""
    return (
        f"colours end at each map's {CLIP:g}th percentile; "
        f"if all values are above zero, they start at its {PEDESTAL:g}th"
    )


def remarks(numbers: Statistics) -> list[str]:
    """Return warnings about a map: values that are not finite, all zero, or all equal."""
    texts = []
    if numbers.not_finite == numbers.count:
        return ["no value is finite: the whole map is striped"]
    if numbers.not_finite:
        share = percent(numbers.not_finite / numbers.count)
        texts.append(f"{numbers.not_finite:,} values ({share}) are not finite: striped")
    if numbers.all_zero:
        texts.append("every value is zero: the method found no evidence")
    elif numbers.minimum == numbers.maximum:
        texts.append(f"every value is {number(numbers.minimum)}: the map is flat")
    return texts
