"""The errors of the package, each with a one-line message that says what to do.

Every error that a user can cause is a `SeewhyError`. The command line prints its message and
exits with status 2; Python raises it like any other exception.
"""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 1_200  # characters of a message, which may quote what a user or a file has given


class SeewhyError(Exception):
    """An error that the user can fix; the message says what was expected, what was given instead,
    and what to do."""

    def __init__(self, message: str = ""):
        message = " ".join(message.split("\n"))  # one line, also where a tensor is quoted
        message = "".join(c if c.isprintable() else _escaped(c) for c in message)
        omitted = len(message) - LONGEST
        if omitted > 0:
            message = f"{message[: LONGEST // 2]}[{omitted} characters]{message[-LONGEST // 2 :]}"
        super().__init__(message)


def _escaped(character: str) -> str:
    r"""Return the escape, such as \x1b, of a character that a terminal or a log would obey."""
    return character.encode("unicode_escape").decode()


class NotApplicable(SeewhyError):
    """Raised when a method does not apply to this model; the message gives the reason."""


class UserCodeError(SeewhyError):
    """Raised when the user's own code raises an exception: a network, a scorer, an edit, a function
    that makes a model. The message names the line; `__cause__` is the exception."""


class TooLarge(SeewhyError):
    """Raised when the model runs out of memory on a single picture."""

    def __init__(self, model: str, height: int, width: int):
        super().__init__(
            f"{model} ran out of memory on one picture of {height}x{width}; use smaller "
            "pictures, precision 'fast' (--precision fast), or another device (--device)"
        )


class Unknown(SeewhyError):
    """Raised for a name that does not exist; the message suggests the closest valid names."""

    def __init__(self, kind: str, name: object, valid: Iterable[str], hint: str = ""):
        close = nearest(str(name), valid)
        advice = f"did you mean {', '.join(close)}?" if close else hint
        super().__init__(f"unknown {kind} {str(name)!r}" + (f"; {advice}" if advice else ""))


def nearest(name: str, valid: Iterable[str], most: int = 3) -> list[str]:
    """Return up to `most` valid names that are closest to `name`, best first, ignoring case."""
    by_lower = {v.lower(): v for v in valid}
    wanted = name.lower()
    close = get_close_matches(wanted, by_lower, n=most, cutoff=0.55)
    containing = [v for v in by_lower if wanted and wanted in v and v not in close]
    return [by_lower[v] for v in (close + containing)[:most]]
