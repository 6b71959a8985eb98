"""Text for matplotlib figures: characters that it cannot draw are replaced."""

from seewhy.support.printable import printable

MISSING = "\N{WHITE SQUARE}"  # what fonts show for a character that they lack


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
