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
    """The method with its name=value words, and `--layer` if it has a layer."""
    plain = as_method(method)
    given = dict(_parse(plain.types(), word) for word in settings)
    if layer is None:
        return as_method(plain, **given)
    if "layer" not in plain.parameters:
        readers = [name for name in REGISTRY if "layer" in as_method(name).parameters]
        raise SeewhyError(
            f"{method} reads no layer; leave --layer away, or use one of {', '.join(readers)}"
        )
    if "layer" in given:
        raise SeewhyError("the layer is given twice; leave out --layer or --set layer")
    return as_method(plain, layer=layer, **given)


def _parse(types: dict[str, type], word: str) -> tuple[str, Any]:
    name, equals, text = (part.strip() for part in word.partition("="))
    if not equals:
        raise SeewhyError(f"--set expects name=value, such as samples=50, not {word!r}")
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
    """The hyperparameters of a method class and their defaults, as written with --set."""
    fields = dataclasses.fields(method)
    return [(f.name, "none" if f.default is None else _written(f.default)) for f in fields]


def _written(default: Any) -> str:
    """A default as it is written with --set: a tuple as numbers with commas between them."""
    return ",".join(map(str, default)) if isinstance(default, tuple) else json.dumps(default)


def meanings(method: type[Method]) -> dict[str, str]:
    """What each hyperparameter is, from "- `samples`: ..." in the documentation, or its type.

    A method without a word on it of its own has that of its base class; "- `window`, `stride`: ..."
    is about both.
    """
    documented: dict[str, str] = {}
    for owner in reversed(method.__mro__):
        text = " ".join(inspect.cleandoc(owner.__doc__ or "").split())
        for names, meaning in re.findall(r"- ((?:`\w+`(?:, )?)+): (.*?)(?= - `|$)", text):
            documented |= dict.fromkeys(re.findall(r"\w+", names), meaning)
    return {f.name: documented.get(f.name) or _kind(f.type) for f in dataclasses.fields(method)}


def _kind(type_: Any) -> str:
    """The values that a hyperparameter takes."""
    choices = get_args(type_) if get_origin(type_) is Literal else ()
    if choices:
        return f"one of {', '.join(map(str, choices))}."
    return "true or false." if type_ is bool else "a value such as the default."
