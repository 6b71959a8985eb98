"""Ignore a library's warnings for a while, also in several threads at once.

`warnings.catch_warnings` exchanges the list of filters; two threads that overlap can leave the
wrong list behind for good. Here one filter for one kind of warnings is added while any thread needs
it, and removed by the last one.
"""

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_lock = threading.Lock()
_Kind = tuple[str, str]
_users: dict[_Kind, int] = {}
_filters: dict[_Kind, tuple] = {}


@contextmanager
def quiet(module: str = "", message: str = "") -> Iterator[None]:
    """Ignore warnings while the block runs.

    - `module`: how the names of the modules begin that give them. - `message`: how they begin, as a
    regular expression.
    """
    kind = module, message
    with _lock:
        if not _users.get(kind):
            patterns = re.compile(message), re.compile(re.escape(module))
            _filters[kind] = ("ignore", patterns[0], Warning, patterns[1], 0)
            warnings.filters.insert(0, _filters[kind])  # type: ignore[attr-defined]
            _changed()
        _users[kind] = _users.get(kind, 0) + 1
    try:
        yield
    finally:
        with _lock:
            _users[kind] -= 1
            if not _users[kind]:
                kept = _filters.pop(kind)
                # Another thread's `catch_warnings` may have put a list without it in place.
                with suppress(ValueError):
                    warnings.filters.remove(kept)  # type: ignore[attr-defined]
                _changed()


def _changed() -> None:
    """Let the interpreter look at the filters anew, as the functions of `warnings` do."""
    warnings._filters_mutated()  # type: ignore[attr-defined]
