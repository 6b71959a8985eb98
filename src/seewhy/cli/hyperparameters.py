"""Hyperparameters on the command line: `--set samples=50 --set noise=0.1`."""

import dataclasses
import inspect
import json
import re
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from seewhy.attribution.method import REGISTRY, Method, Words, as_method
from seewhy.errors import SeewhyError


def configured(method: str, layer: str | None, settings: Sequence[str]) -> Method:
    """Return the method with its `--set name=value` settings and with `--layer`, if given."""
    plain = as_method(method)
    given = dict(_parse(plain.types(), word) for word in settings)
    if layer is None:
        return as_method(plain, **given)
    if "layer" not in plain.parameters:
        readers = [name for name in REGISTRY if "layer" in as_method(name).parameters]
        raise SeewhyError(
            f"{method} reads no layer; omit --layer, or use one of {', '.join(readers)}"
        )
    if "layer" in given:
        raise SeewhyError("the layer is given twice; omit --layer or --set layer")
    return as_method(plain, layer=layer, **given)


def _parse(types: dict[str, type], word: str) -> tuple[str, Any]:
    name, equals, text = (part.strip() for part in word.partition("="))
    if not equals:
        raise SeewhyError(f"--set must be name=value, such as samples=50, not {word!r}")
    name = name.replace("-", "_")
    expected = types.get(name, str)
    if expected is Words:
        return name, tuple(word.strip() for word in text.split(",") if word.strip())
    if expected is tuple:
        return name, tuple(_value(number) for number in text.strip("()[]").split(",") if number)
    return name, text if expected is str else _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def describe(method: type[Method]) -> list[tuple[str, str]]:
    """Return the hyperparameters of a method class and their defaults, as written with --set."""
    fields = dataclasses.fields(method)
    return [(f.name, "none" if f.default is None else _written(f.default)) for f in fields]


def _written(default: Any) -> str:
    """Return a default as written with --set: a tuple as comma-separated numbers."""
    return ",".join(map(str, default)) if isinstance(default, tuple) else json.dumps(default)


def meanings(method: type[Method]) -> dict[str, str]:
    """Return what each hyperparameter means: "- `samples`: ..." in the docstring, or its type.

    An entry that a method lacks is taken from its base class; "- `window`, `stride`: ..." applies
    to both.
    """
    documented: dict[str, str] = {}
    for owner in reversed(method.__mro__):
        text = " ".join(inspect.cleandoc(owner.__doc__ or "").split())
        for names, meaning in re.findall(r"- ((?:`\w+`(?:, )?)+): (.*?)(?= - `|$)", text):
            documented |= dict.fromkeys(re.findall(r"\w+", names), meaning)
    return {f.name: documented.get(f.name) or _kind(f.type) for f in dataclasses.fields(method)}


def _kind(type_: Any) -> str:
    """Return which values a hyperparameter takes."""
    choices = get_args(type_) if get_origin(type_) is Literal else ()
    if choices:
        return f"one of {', '.join(map(str, choices))}."
    return "true or false." if type_ is bool else "a value such as the default."
