"""Text from strangers (file names, class names, metadata) made safe to print and to write."""

import unicodedata
from collections.abc import Callable

# Control characters, directions and other invisible ones, lone surrogates, unassigned; line and
# paragraph separators.
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
_KEPT = {"\u200d"}  # joins the parts of an emoji


def escaped(character: str) -> str:
    r"""Return the escape of a character, such as \x1b or \u202e."""
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: str, keep: str = "", escape: Callable[[str], str] = escaped) -> str:
    r"""Replace characters that could change a terminal or a page by escapes such as \x1b.

    Characters of `keep` stay as they are: "\n" for text of several lines. `escape` makes the
    escapes.

    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\x0a'
    """
    if text.isprintable():
        return text
    if keep and all(part.isprintable() for part in text.split(keep[0])):
        return text
    return "".join(c if c in keep or _is_printable(c) else escape(c) for c in text)


def _is_printable(character: str) -> bool:
    return character in _KEPT or unicodedata.category(character) not in _UNPRINTABLE
