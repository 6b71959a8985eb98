"""Exceptions of the user's own code are reported as theirs, with the line that raised them.

Networks, scorers, edits and factories are the user's code, and this package calls them in many
ways: directly, under torch's hooks, or inside a backward pass. Whose fault an exception is follows
from its traceback: the innermost frame that belongs neither to torch nor to Python's own library.
"""

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
import torch

from seewhy.errors import SeewhyError, UserCodeError
from seewhy.support.batching import out_of_memory

_OURS = str(Path(__file__).parents[1])
_STANDARD = sysconfig.get_path("stdlib")
_INSTALLED = ("site-packages", "dist-packages")
# These only pass a call on: torch, the checks of shapes in tests, and the adapter of networks.
_PLUMBING = (
    *torch.__path__,
    *jaxtyping.__path__,
    str(Path(_OURS, "models", "adapter.py")),
    "<",  # code without a file, as of importlib
)
LONGEST = 300  # characters of the exception's own message

Raised = (Exception, SystemExit)  # not KeyboardInterrupt, which is nobody's error


@contextmanager
def user_code(what: str) -> Iterator[None]:
    """Report exceptions of the block, which only calls the user's code, as `UserCodeError`.

    `what` names the code: "the edit at layer4". Errors of this package and exhausted memory are not
    touched.
    """
    try:
        yield
    except Raised as error:
        if is_reported(error):
            raise
        raise report(what, error) from error


def is_reported(error: BaseException) -> bool:
    """Return whether the error is one of this package, or one that it handles itself."""
    return isinstance(error, SeewhyError) or out_of_memory(error)


def report(what: str, error: BaseException) -> UserCodeError:
    """Return the error that says that `what` raised `error`, and in which line."""
    frames = [f for f in _below(error) if not f.filename.startswith((_OURS, "<"))]
    own = [f for f in frames if not _is_installed(f.filename)]
    libraries = [f for f in frames if not _is_plumbing(f.filename)]
    outside_python = [f for f in frames if not f.filename.startswith(_STANDARD)]
    place = ""
    for frame in (own or libraries or outside_python)[-1:]:
        place = f" in {frame.name} ({frame.filename}, line {frame.lineno})"
    return UserCodeError(f"{what} raised {described(error)}{place}; correct that code")


def is_ours(error: BaseException) -> bool:
    """Return whether code of this package raised it, or called the function that did.

    The frame that caught the error, which called the user's code, does not count.
    """
    files = [f.filename for f in _below(error) if not _is_plumbing(f.filename)]
    return bool(files) and files[-1].startswith(_OURS)


def described(error: BaseException) -> str:
    """Return the type and message of an exception in one line."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # an exception of the user's, whose text may fail as well
        message = ""
    if len(message) > LONGEST:
        message = f"{message[:LONGEST]}..."
    return f"{type(error).__name__}: {message}".rstrip(": ")


def _is_plumbing(file: str) -> bool:
    installed = any(folder in file for folder in _INSTALLED)
    return file.startswith(_PLUMBING) or (file.startswith(_STANDARD) and not installed)


def _is_installed(file: str) -> bool:
    return file.startswith(_STANDARD) or any(folder in file for folder in _INSTALLED)


def _below(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames below the one that caught the error, outermost first."""
    return list(traceback.extract_tb(error.__traceback__))[1:]
