"""A user's own network: "package.module:function", called without arguments."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from seewhy.errors import SeewhyError, nearest
from seewhy.models.model import Model
from seewhy.sources import fitting
from seewhy.sources.architecture import RANDOM, Weights
from seewhy.sources.classes import Classes, read_classes
from seewhy.sources.weights import read_weights


def open_own(name: str, weights: Weights = None, classes: Classes | None = None) -> Model:
    """The `Model` or `nn.Module` that the function returns, with weights and names if given.

    The current folder is on the import path meanwhile.

    Raises `SeewhyError` when it cannot be imported or called, or returns something else.
    """
    if str(weights) == RANDOM:
        raise SeewhyError(f"{name} makes its own weights; leave weights='random' away")
    names = None if classes is None else read_classes(classes)
    with _current_folder_first():
        made = _called(_function(name), name)
    model = made if isinstance(made, Model) else Model(made, name=name)
    model.net.eval()
    if weights is not None:
        wanted = model.net.state_dict()
        fitting.load(
            model.net, fitting.without_prefixes(read_weights(weights), wanted), weights, name
        )
    if names is not None:
        model.classes = names
    return model


@contextmanager
def _current_folder_first() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's module may have edited the path
            sys.path.remove(folder)


def _function(name: str) -> Callable[[], Any]:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise SeewhyError(f"expected package.module:function, got {name!r}")
    module = _imported(module_name, name)
    found = getattr(module, attribute, None)
    if found is None:
        offer = nearest(attribute, (n for n in vars(module) if not n.startswith("_")))
        hint = f"; did you mean {', '.join(offer)}?" if offer else ""
        raise SeewhyError(f"module {module_name} has no {attribute!r}{hint}")
    if not callable(found) or isinstance(found, nn.Module):
        raise SeewhyError(
            f"{name} is a {type(found).__name__}, not a function; "
            "name a function that takes no arguments and returns the network"
        )
    return found


def _imported(module_name: str, name: str) -> ModuleType:
    try:
        importlib.invalidate_caches()
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise SeewhyError(
                f"no module {module_name} for {name}; run in the folder that holds it, "
                "or install it"
            ) from None
        raise SeewhyError(f"importing {module_name} failed: {_said(error)}") from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise SeewhyError(f"importing {module_name} failed: {_said(error)}") from error


def _called(function: Callable[[], Any], name: str) -> Any:
    try:
        made = function()
    except (Exception, SystemExit) as error:  # the user's function may raise anything
        raise SeewhyError(f"{name}() failed: {_said(error)}") from error
    if not isinstance(made, nn.Module | Model):
        raise SeewhyError(
            f"{name}() returned {type(made).__name__}; expected a torch.nn.Module or seewhy.Model"
        )
    return made


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
