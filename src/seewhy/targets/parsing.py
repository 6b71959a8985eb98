"""Parse targets written as text; the syntax is the same in Python and on the command line.

    tabby                        a class, by name or index
    layer3:17  layer3:17@4,5     a channel, or one cell of it
    layer3:17@2:5,0:4            rows 2 to 4 and columns 0 to 3 of a channel
    dog - cat                    sums and differences, with spaces around the signs
    dog@3,5  dog@0:9,0:9         the same in the map of classes of a segmentation network
    0.5*dog + layer3:17          weights, with or without the asterisk
    'tiger cat' - dog            a name in quotation marks, single or double, is always a class
    class 3, predicted class     a class by index, and the most probable class of each picture
    energy of layer3             the mean square of a layer's activations

An ambiguous text, for example because the model has a class named like a unit, is an error.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from torch import Tensor

from seewhy.errors import SeewhyError, Unknown
from seewhy.models.adapter import OUTPUT
from seewhy.models.addresses import LISTED, Address
from seewhy.models.model import Model
from seewhy.targets.representations import energy
from seewhy.targets.terms import Logit, Predicted, Target, Unit, combined, region

Part = tuple[float, Target]  # a weight and a term

_SIGN = re.compile(r"\s+([+\-−])\s+")
_LEADING = re.compile(r"\s*([+\-−])\s+")
_WEIGHTED = re.compile(r"(?P<weight>\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+)(\s*\*\s*|\s+)(?P<name>\S.*)")
_REGION = re.compile(r"(?P<channel>.+)@(\d{1,9}):(\d{1,9}),(\d{1,9}):(\d{1,9})")
_DANGLING = re.compile(r"[+\-−](\s.*)?")
# A quotation starts where a name can start, so the apostrophe of "lady's slipper" is none.
_QUOTED = re.compile(
    r"""(?<![^\s*])(?P<mark>['"])(?P<name>((?!(?P=mark)(?!\S)).)*)(?P=mark)(?!\S)"""
)
ENERGY = "energy of "
_INDEX = re.compile(r"class (\d{1,9})")


def parse(text: str, model: Model, pixels: Tensor) -> Target:
    """Return the target that the text denotes for this model, run on pictures like `pixels`.

    Raises SeewhyError for a sum with a missing term and for an ambiguous text, and Unknown for a
    unit that does not exist. Classes are checked later, when the number of logits is known.
    """
    pieces = _split(text)
    readings = list(islice(_readings(pieces, model, pixels), 2))
    if len(readings) == 2:
        first, second = (str(combined(parts)) for parts in readings)
        raise SeewhyError(
            f"the target {text!r} can be read as {first} or as {second}: put class names in "
            "quotation marks, or use seewhy.unit()"
        )
    # Without a valid reading, each piece is parsed alone, so that the error names the unknown one.
    return combined(
        readings[0] if readings else [_unchecked_term(piece, model, pixels) for piece in pieces]
    )


def _split(text: str) -> list[tuple[str, str]]:
    """Return the (sign, name) pairs of a sum, as written."""
    quotes: list[str] = []  # replaced by placeholders, since they may contain signs

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
        raise SeewhyError(f"the target {text!r} has a sign without a term; write 'dog - cat'")
    return list(zip(shown[::2], shown[1::2], strict=True))


def _readings(
    pieces: Sequence[tuple[str, str]], model: Model, pixels: Tensor
) -> Iterator[list[Part]]:
    """Yield every way to read the pieces as a sum of existing terms; names may contain signs."""
    if not pieces:
        yield []
    for end in range(1, len(pieces) + 1):
        name = pieces[0][1] + "".join(f" {sign} {more}" for sign, more in pieces[1:end])
        for weight, term in _terms(name, model, pixels):
            for others in _readings(pieces[end:], model, pixels):
                yield [(_factor(pieces[0][0]) * weight, term), *others]


def _terms(text: str, model: Model, pixels: Tensor) -> Iterator[Part]:
    """Yield the existing terms that the text may denote, read with and without a weight."""
    for weight, name in {(1.0, text), _weighted(text)}:
        if name == str(Predicted()):
            yield weight, Predicted()
        if _class_exists(name, model):
            yield weight, _class(name)
        layer = name.removeprefix(ENERGY)
        if layer != name and layer in model.layer_graph(pixels).layers:
            yield weight, energy(layer)
        unit = _unit(_at_output(name, model))
        if unit and unit.address.layer in model.layer_graph(pixels).layers:
            yield weight, _checked(unit, name, model, pixels)


def _unchecked_term(piece: tuple[str, str], model: Model, pixels: Tensor) -> Part:
    """Return the weight and term of a piece: a unit if it has the form of one, else a class."""
    weight, name = _weighted(piece[1])
    unit = _unit(_at_output(name, model))
    term = _checked(unit, name, model, pixels) if unit else _class(name)
    return _factor(piece[0]) * weight, term


def _factor(sign: str) -> float:
    return 1.0 if sign == "+" else -1.0


def _weighted(text: str) -> tuple[float, str]:
    """Split the text into weight and name; the default weight is 1."""
    match = _WEIGHTED.fullmatch(text)
    return (float(match["weight"]), match["name"]) if match else (1.0, text)


def _class(name: str) -> Logit:
    """Return the class given by a name (quoted or not) or by "class INDEX"."""
    quoted, index = _QUOTED.fullmatch(name), _INDEX.fullmatch(name)
    return Logit(quoted["name"] if quoted else int(index[1]) if index else name)


def _class_exists(name: str, model: Model) -> bool:
    if _QUOTED.fullmatch(name):
        return True  # quoted: always a class, checked later
    try:
        model.class_index(_class(name).of_class, len(model.classes or ()))
    except SeewhyError:
        return False
    return True


def _at_output(name: str, model: Model) -> str:
    """Return "dog@3,5" as a cell of the map of classes, "output:12@3,5", if the model has one."""
    of_class, at, cells = name.rpartition("@")
    if model.outputs != "segmentation" or not at or not _class_exists(of_class, model):
        return name
    index = model.class_index(_class(of_class).of_class, len(model.classes or ()))
    return f"{OUTPUT}:{index}@{cells}"


def _unit(name: str) -> Unit | None:
    """Return the unit or region that the name denotes, or None if it does not have that form."""
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
    """Return the unit; raise if its layer or call does not exist, or has no grid for its cells."""
    address, graph = unit.address, model.layer_graph(pixels)
    if address.layer not in graph.layers:
        units = [f"{layer}:{address.channel}" for layer in graph.layers]
        raise Unknown("class or unit", text, [*(model.classes or ()), *units], hint=LISTED)
    graph.call(address)
    if (address.position or unit.rows) and not graph.layers[address.layer].grid:
        raise SeewhyError(f"{unit}: {address.layer} has no rows and columns; leave @ out")
    return unit
