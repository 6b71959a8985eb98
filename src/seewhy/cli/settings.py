"""Hyperparameters on the command line: `--set samples=50 --set noise=0.1`."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from seewhy.attribution.method import as_method
from seewhy.errors import SeewhyError


def parse_settings(method: str, settings: Sequence[str]) -> dict[str, Any]:
    """Turn name=value words into hyperparameters of the method, each of its field's type."""
    known = as_method(method).parameters
    return dict(_parse(method, known, word) for word in settings)


def _parse(method: str, known: dict[str, Any], word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals:
        raise SeewhyError(f"--set expects name=value, such as samples=50, not {word!r}")
    name = name.strip().replace("-", "_")
    default = known.get(name)
    value = _value(text.strip())
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if name in known and default is not None and type(value) is not type(default):
        expected = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
        raise SeewhyError(
            f"{method}: {name} is {expected.get(type(default), 'something else')}, not {text!r}"
        )
    return name, value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def describe(method: Any) -> list[tuple[str, str]]:
    """The hyperparameters of a method class and their defaults, as written with --set."""
    fields = dataclasses.fields(method)
    return [(f.name, "found" if f.default is None else json.dumps(f.default)) for f in fields]
