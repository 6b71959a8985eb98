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
from seewhy.support.user_code import Raised, is_reported, report, user_code


def open_own(name: str, weights: Weights = None, classes: Classes | None = None) -> Model:
    """Open the `Model` or `nn.Module` that the function returns, with weights and names if given.

    During the import and the call, the current folder is on the import path.

    Raises `SeewhyError` if it cannot be imported or called, or returns something else.
    """
    if str(weights) == RANDOM:
        raise SeewhyError(f"{name} creates its own weights; omit weights='random'")
    names = None if classes is None else read_classes(classes)
    with _current_folder_first():
        network = _call(_function(name), name)
    model = network if isinstance(network, Model) else Model(network, name=name)
    model.net.eval()
    if weights is not None:
        state = fitting.without_prefixes(read_weights(weights), model.net.state_dict())
        fitting.load(model.net, state, weights, name)
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
    module = _import(module_name, name)
    function = getattr(module, attribute, None)
    if function is None:
        near = nearest(attribute, (n for n in vars(module) if not n.startswith("_")))
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise SeewhyError(f"module {module_name} has no {attribute!r}{hint}")
    if not callable(function) or isinstance(function, nn.Module):
        raise SeewhyError(
            f"{name} is a {type(function).__name__}, not a function; "
            "name a function that takes no arguments and returns the network"
        )
    return function


def _import(module_name: str, name: str) -> ModuleType:
    try:
        importlib.invalidate_caches()
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise SeewhyError(
                f"no module {module_name} for {name}; run in the folder that contains it, "
                "or install it"
            ) from None
        raise report(f"importing {module_name}", error) from error
    except Raised as error:
        if is_reported(error):
            raise
        raise report(f"importing {module_name}", error) from error


def _call(function: Callable[[], Any], name: str) -> Any:
    with user_code(f"{name}()"):
        network = function()
    if not isinstance(network, nn.Module | Model):
        raise SeewhyError(
            f"{name}() returned {type(network).__name__}; "
            "expected a torch.nn.Module or seewhy.Model"
        )
    return network
