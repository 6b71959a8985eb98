"""Targets as text, the same in Python and on the command line.

    tabby                        a class, by name or index
    layer3:17  layer3:17@4,5     a channel, or one cell of it
    layer3:17@2:5,0:4            rows 2 to 4 and columns 0 to 3 of a channel
    dog - cat                    sums and differences; signs stand between spaces
    0.5*dog + layer3:17          weights, with or without the asterisk
    'tiger cat' - dog            a name in quotation marks, single or double, is always a class
    class 3, predicted class     a class by index, and each picture's most probable one

Where a text can be read in two ways, because the model has a class of such a name, it is refused.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from torch import Tensor

from seewhy.errors import SeewhyError, Unknown
from seewhy.models.addresses import LISTED, Address
from seewhy.models.model import Model
from seewhy.targets.terms import Logit, Predicted, Target, Unit, combined, region

Part = tuple[float, Target]  # a weight and a term

_SIGN = re.compile(r"\s+([+\-−])\s+")
_LEADING = re.compile(r"\s*([+\-−])\s+")
_WEIGHTED = re.compile(r"(?P<weight>\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+)(\s*\*\s*|\s+)(?P<name>\S.*)")
_REGION = re.compile(r"(?P<channel>.+)@(\d+):(\d+),(\d+):(\d+)")
_DANGLING = re.compile(r"[+\-−](\s.*)?")
# Not the apostrophe of "lady's slipper": a quotation starts where a name can.
_QUOTED = re.compile(
    r"""(?<![^\s*])(?P<mark>['"])(?P<name>((?!(?P=mark)(?!\S)).)*)(?P=mark)(?!\S)"""
)
_INDEX = re.compile(r"class (\d+)")


def parse(text: str, model: Model, pixels: Tensor) -> Target:
    """The target that the text stands for, on a model that is run on pictures like `pixels`.

    Raises SeewhyError for a sum with a part missing and for a text with two meanings, Unknown for
    a unit that does not exist. Whether a class exists is known when the number of logits is.
    """
    pieces = _pieces(text)
    readings = list(islice(_readings(pieces, model, pixels), 2))
    if len(readings) == 2:
        one, other = (str(combined(parts)) for parts in readings)
        raise SeewhyError(
            f"the target {text!r} can be read as {one} or as {other}: put the names of classes "
            "into quotation marks, or use seewhy.unit()"
        )
    # What has no meaning is read piece by piece, so that the unknown one is named.
    return combined(
        readings[0] if readings else [_signed(piece, model, pixels) for piece in pieces]
    )


def _pieces(text: str) -> list[tuple[str, str]]:
    """The signs and names of a sum, as they are written."""
    quotes: list[str] = []  # what they hold may look like a sign

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
    return list(zip(shown[::2], shown[1::2], strict=True))


def _readings(
    pieces: Sequence[tuple[str, str]], model: Model, pixels: Tensor
) -> Iterator[list[Part]]:
    """Every way to read the pieces as a sum of terms that exist; names may hold signs."""
    if not pieces:
        yield []
    for end in range(1, len(pieces) + 1):
        name = pieces[0][1] + "".join(f" {sign} {more}" for sign, more in pieces[1:end])
        for weight, term in _terms(name, model, pixels):
            for others in _readings(pieces[end:], model, pixels):
                yield [(_factor(pieces[0][0]) * weight, term), *others]


def _terms(text: str, model: Model, pixels: Tensor) -> Iterator[Part]:
    """The terms that exist of this name, with and without a weight before it."""
    for weight, name in {(1.0, text), _weighted(text)}:
        if name == str(Predicted()):
            yield weight, Predicted()
        if _class_exists(name, model):
            yield weight, _class(name)
        unit = _unit(name)
        if unit and unit.address.layer in model.layer_graph(pixels).layers:
            yield weight, _checked(unit, name, model, pixels)


def _signed(piece: tuple[str, str], model: Model, pixels: Tensor) -> Part:
    """A piece as a unit or a class, whether or not there is one."""
    weight, name = _weighted(piece[1])
    unit = _unit(name)
    term = _checked(unit, name, model, pixels) if unit else _class(name)
    return _factor(piece[0]) * weight, term


def _factor(sign: str) -> float:
    return 1.0 if sign == "+" else -1.0


def _weighted(text: str) -> tuple[float, str]:
    """The weight and the name; 1 where there is no weight."""
    found = _WEIGHTED.fullmatch(text)
    return (float(found["weight"]), found["name"]) if found else (1.0, text)


def _class(name: str) -> Logit:
    """The class of a name, quoted or not, or of an index."""
    quoted, index = _QUOTED.fullmatch(name), _INDEX.fullmatch(name)
    return Logit(quoted["name"] if quoted else int(index[1]) if index else name)


def _class_exists(name: str, model: Model) -> bool:
    if _QUOTED.fullmatch(name):
        return True  # or is refused as a class
    try:
        model.class_index(_class(name).of_class, len(model.classes or ()))
    except SeewhyError:
        return False
    return True


def _unit(name: str) -> Unit | None:
    """The unit or region of this name, if it has the form of one."""
    area = _REGION.fullmatch(name)
    try:
        address = Address.parse(area["channel"] if area else name)
    except SeewhyError:
        return None
    if address.channel is None:
        return None
    if not area:
        return Unit(address)
    top, bottom, left, right = (int(n) for n in area.groups()[1:])
    return region(str(address), (top, bottom), (left, right))


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
