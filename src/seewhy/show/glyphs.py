"""Text for matplotlib figures: drawn letter by letter, whatever it contains."""

from typing import TYPE_CHECKING, Any

from seewhy.support.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "\N{WHITE SQUARE}"  # what fonts show for a character that they lack
# Names are not formulas. Nor are they programs for TeX, which a user's settings may have chosen
# for all texts, and which can read files.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}


def write(on: "Axes | Figure", x: float, y: float, text: str, **style: Any) -> None:
    """Write text as it is on axes or a figure; `style` is matplotlib's."""
    on.text(x, y, drawable(text), **LITERAL, **style)


def drawable(text: str) -> str:
    """Return text that matplotlib draws without a warning or an error.

    Invisible characters are escaped; those that the fonts of figures lack, such as Chinese ones
    by default, become a square. To have them drawn, name a font that has them in matplotlib's
    setting `font.family`.
    """
    text = printable(text, keep="\n")
    if text.isascii():
        return text
    from matplotlib.font_manager import FontProperties, findfont, get_font

    families = FontProperties().get_family()
    fonts = [get_font(findfont(FontProperties(family=[family]))) for family in families]

    def has_glyph(character: str) -> bool:
        return any(font.get_char_index(ord(character)) for font in fonts)

    return "".join(c if c == "\n" or has_glyph(c) else MISSING for c in text)
