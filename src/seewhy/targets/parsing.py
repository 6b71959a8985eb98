"""Targets as text, the same in Python and on the command line.

    tabby                        a class, by name or index
    layer3:17  layer3:17@4,5     a channel, or one cell of it
    layer3:17@2:5,0:4            rows 2 to 4 and columns 0 to 3 of a channel
    dog - cat                    sums and differences; signs stand between spaces
    0.5*dog + layer3:17          weights, with or without the asterisk
    'tiger cat' - dog            names can be quoted

A text that is the name of a class, as a whole or between two signs, is that class.
"""

import re

from torch import Tensor

from seewhy.errors import SeewhyError, Unknown
from seewhy.models.addresses import LISTED, Address
from seewhy.models.model import Model
from seewhy.targets.terms import Logit, Sum, Target, Unit, region, terms

_SIGN = re.compile(r"\s+([+\-−])\s+")
_LEADING = re.compile(r"\s*([+\-−])\s+")
_WEIGHTED = re.compile(r"(?P<weight>\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+)(\s*\*\s*|\s+)(?P<name>\S.*)")
_REGION = re.compile(r"(?P<channel>.+)@(\d+):(\d+),(\d+):(\d+)")
_DANGLING = re.compile(r"[+\-−](\s.*)?")
_QUOTED = re.compile(r"'([^']*)'")


def parse(text: str, model: Model, pixels: Tensor) -> Target:
    """The target that the text stands for, on a model that is run on pictures like `pixels`.

    Raises SeewhyError for a sum with a part missing, Unknown for a unit that does not exist.
    Whether a class exists is known when the number of logits is.
    """
    if _is_class(text, model):
        return Logit(text)
    found = [
        (weight * w, term)
        for weight, name in _parts(text)
        for w, term in terms(_operand(name, model, pixels))
    ]
    return found[0][1] if len(found) == 1 and found[0][0] == 1 else Sum(tuple(found))


def _parts(text: str) -> list[tuple[float, str]]:
    """The weights and names of a sum."""
    quotes: list[str] = []

    def hide(quote: re.Match) -> str:
        quotes.append(quote[0])
        return f"\0{len(quotes) - 1}\0"

    hidden = _QUOTED.sub(hide, text)
    leading = _LEADING.match(hidden)
    pieces = ["+", *_SIGN.split(hidden)]
    if leading:
        pieces = [leading[1], *_SIGN.split(hidden[leading.end() :])]
    shown = [re.sub(r"\0(\d+)\0", lambda m: quotes[int(m[1])], p).strip() for p in pieces]
    if not all(shown) or any(_DANGLING.fullmatch(name) for name in shown[1::2]):
        raise SeewhyError(f"the target {text!r} has a sign with nothing beside it")
    signs, names = shown[::2], shown[1::2]
    return [(1.0 if s == "+" else -1.0, name) for s, name in zip(signs, names, strict=True)]


def _operand(text: str, model: Model, pixels: Tensor) -> Target:
    """What stands between two signs: a name, or a number and a name."""
    weighted = _WEIGHTED.fullmatch(text)
    if weighted and not _is_class(text, model):
        return float(weighted["weight"]) * _named(weighted["name"], model, pixels)
    return _named(text, model, pixels)


def _named(text: str, model: Model, pixels: Tensor) -> Target:
    """The class or unit of this name; what can be neither is a class, to be refused as one."""
    quote = _QUOTED.fullmatch(text)
    name = quote[1] if quote else text
    if quote or _is_class(name, model):
        return Logit(name)
    area = _REGION.fullmatch(name)
    if area:
        top, bottom, left, right = (int(n) for n in area.groups()[1:])
        return _checked(region(area["channel"], (top, bottom), (left, right)), name, model, pixels)
    try:
        address = Address.parse(name)
    except SeewhyError:
        return Logit(name)
    return Logit(name) if address.channel is None else _checked(Unit(address), name, model, pixels)


def _checked(unit: Unit, text: str, model: Model, pixels: Tensor) -> Unit:
    """The unit, if its layer, call and rows exist."""
    address, graph = unit.address, model.layer_graph(pixels)
    if address.layer not in graph.layers:
        units = [f"{layer}:{address.channel}" for layer in graph.layers]
        raise Unknown("class or unit", text, [*(model.classes or ()), *units], hint=LISTED)
    graph.call(address)
    if (address.position or unit.rows) and not graph.layers[address.layer].grid:
        raise SeewhyError(f"{unit}: {address.layer} has no rows and columns; leave @ out")
    return unit


def _is_class(text: str, model: Model) -> bool:
    try:
        model.class_index(text, len(model.classes or ()))
    except SeewhyError:
        return False
    return True
