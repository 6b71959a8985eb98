"""What goes wrong, said in one line that names the way out.

Every error a user can cause is a `SeewhyError`. The command line prints its message and
exits with status 2; Python raises it like any other exception.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SeewhyError(Exception):
    """Something the user can mend: the message says what was expected, what came, what to do."""


class NotApplicable(SeewhyError):
    """A method does not apply to this model; the message is the reason, for a person to read."""


class TooLarge(SeewhyError):
    """Memory does not hold the model on a single picture."""

    def __init__(self, model: str, height: int, width: int):
        super().__init__(
            f"memory does not hold {model} on one picture of {height}x{width}; give smaller "
            "pictures, precision 'fast' (--precision fast), or another device (--device)"
        )


class Unknown(SeewhyError):
    """A name that does not exist; the message offers the nearest ones that do."""

    def __init__(self, kind: str, name: object, valid: Iterable[str], hint: str = ""):
        near = nearest(str(name), valid)
        offer = f"did you mean {', '.join(near)}?" if near else hint
        super().__init__(f"unknown {kind} {str(name)!r}" + (f"; {offer}" if offer else ""))


def nearest(name: str, valid: Iterable[str], most: int = 3) -> list[str]:
    """The up to `most` valid names closest to `name`, best first; case does not count."""
    by_lower = {v.lower(): v for v in valid}
    wanted = name.lower()
    close = get_close_matches(wanted, by_lower, n=most, cutoff=0.55)
    within = [v for v in by_lower if wanted and wanted in v and v not in close]
    return [by_lower[v] for v in (close + within)[:most]]
