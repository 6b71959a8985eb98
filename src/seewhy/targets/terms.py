"""Targets, which can be explained, visualised or edited towards: terms and their weighted sums.

    logit("tabby"), logit(281)          the logit of a class; None is the most probable class
    unit("layer3:17")                   a channel, summed over its rows and columns
    unit("layer3:17@4,5"), "fc1:12"     one cell of a channel; a unit of a vector
    region("layer3:17", (2, 5), (0, 4)) rows 2 to 4 and columns 0 to 3 of a channel
    region("layer3:17", mask)           a channel under a mask, such as an object's
    direction("layer3", vector)         activations along a direction, summed over rows and columns
    0.5 * logit("dog") - unit("layer3:17")
    each("tabby", "layer3:17")          several targets for every picture, from one forward pass

The string of a target, such as "0.5 dog − layer3:17", can be parsed again (see `targets.parsing`),
except for masks and directions, which have no text form. The weights of equal terms are added, so
that a + b - b is a. Sums over rows and columns exclude the prefix tokens of transformers (class
token, registers), which have no row and column.
"""

import math
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address

# A name that starts like a weight, a sign or a quotation, contains a sign between spaces, or could
# be parsed as the address of a channel or as another target.
_UNCLEAR = re.compile(
    r"""^[-+−.\d'"]|\s[-+−*]\s|:\d+(@.*)?$|^class \d+$|^predicted class$|^\s|\s$"""
)


class Target:
    """A differentiable score of one picture; targets can be added and weighted."""

    def __add__(self, other: "Target | str") -> "Target":
        return combined((*terms(self), *terms(operand(other))))

    def __sub__(self, other: "Target | str") -> "Target":
        return self + -operand(other)

    def __mul__(self, weight: float) -> "Target":
        return combined((_weight(weight) * w, term) for w, term in terms(self))

    def __truediv__(self, divisor: float) -> "Target":
        if _weight(divisor) == 0:
            raise SeewhyError("a target cannot be divided by zero")
        return combined((w / _weight(divisor), term) for w, term in terms(self))

    def __neg__(self) -> "Target":
        return self * -1.0

    def __radd__(self, other: "str | int") -> "Target":
        if type(other) is int and other == 0:
            return self  # so that sum() of targets works
        return operand(other) + self

    def __rsub__(self, other: str) -> "Target":
        return operand(other) - self

    def __rmul__(self, weight: float) -> "Target":
        return self * weight


class Hidden(Target):
    """A score of a hidden layer's activation; subclass it to define a new kind of term."""

    place: Address  # the layer, with its call if one is specified

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()} of {self.place}"

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """Return the score of each picture, differentiable, from the layer's activation as maps."""
        raise NotImplementedError


@dataclass(frozen=True)
class Predicted(Target):
    """The logit of each picture's most probable class."""

    def __str__(self) -> str:
        return "predicted class"


@dataclass(frozen=True)
class Logit(Target):
    """The logit of a class, given by index or name."""

    of_class: int | str

    def __str__(self) -> str:
        return f"class {self.of_class}" if isinstance(self.of_class, int) else quoted(self.of_class)


@dataclass(frozen=True)
class Named(Target):
    """A class or a unit given as text, which is parsed once the model is known."""

    text: str

    def __str__(self) -> str:
        unit_or_quoted = ":" in self.text or self.text[:1] in ("'", '"')
        return self.text if unit_or_quoted else quoted(self.text)


@dataclass(frozen=True)
class Unit(Hidden):
    """A channel of a layer, summed over its rows and columns, or a cell or region of a channel."""

    address: Address
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None

    @property
    def place(self) -> Address:  # type: ignore[override]
        """The layer, with its call if one is specified."""
        return Address(self.address.layer, self.address.call)

    def __str__(self) -> str:
        if self.rows is None or self.columns is None:
            return str(self.address)
        (top, bottom), (left, right) = self.rows, self.columns
        return f"{self.address}@{top}:{bottom},{left}:{right}"

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """Return the unit's score of each picture from its layer's activation as maps."""
        channels, height, width = maps.shape[1:]
        channel, position = self.address.channel or 0, self.address.position
        if channel >= channels:
            raise SeewhyError(f"{self}: {self.place} has {channels} channels, counted from 0")
        rows, columns = self.rows or (0, height), self.columns or (0, width)
        if position is not None:
            rows, columns = ((p, p + 1) for p in position)
        if rows[1] > height or columns[1] > width:
            raise SeewhyError(
                f"{self}: the grid of {self.place} has {height} rows and {width} columns, "
                "counted from 0"
            )
        return _wide(maps[:, channel, slice(*rows), slice(*columns)]).sum((1, 2))


@dataclass(frozen=True, eq=False)
class Masked(Hidden):
    """A channel of a layer, summed over its rows and columns with a mask as weights."""

    unit: Unit
    mask: Float[Tensor, "h w"]
    name: str = ""

    @property
    def place(self) -> Address:  # type: ignore[override]
        """The layer, with its call if one is specified."""
        return self.unit.place

    def __str__(self) -> str:
        return self.name or f"{self.unit} under a mask of {float(self.mask.mean()):.0%}"

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """Return the score of each picture; cells are weighted by how much the mask covers them.

        Raises SeewhyError if the layer has no rows and columns.
        """
        if maps.shape[-2:] == (1, 1):
            raise SeewhyError(
                f"{self}: {self.place} has no rows and columns; name a layer that has them"
            )
        maps = _wide(maps)
        height, width = maps.shape[-2:]
        cells = F.adaptive_avg_pool2d(self.mask.to(maps)[None], (height, width))
        channel = self.unit.address.channel or 0
        self.unit.of(maps)  # raises if the channel does not exist
        return (cells * maps[:, channel]).sum((1, 2))


@dataclass(frozen=True)
class Direction(Hidden):
    """The dot product of a layer's channels with a vector, summed over rows and columns."""

    place: Address
    vector: tuple[float, ...]
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"direction in {self.place}"

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """Return the direction's score of each picture from its layer's activation as maps."""
        maps = _wide(maps)
        if len(self.vector) != maps.shape[1]:
            raise SeewhyError(
                f"{self}: {self.place} has {maps.shape[1]} channels, but the vector has "
                f"{len(self.vector)} numbers; give one number for each channel"
            )
        return torch.einsum("bchw,c->b", maps, maps.new_tensor(self.vector))


@dataclass(frozen=True)
class Sum(Target):
    """A weighted sum of terms."""

    parts: tuple[tuple[float, Target], ...]

    def __str__(self) -> str:
        return written([(weight, str(term)) for weight, term in self.parts])


@dataclass(frozen=True)
class MultiTarget:
    """Several targets for every picture."""

    targets: tuple[Any, ...]


TargetLike = (
    int | str | Target | MultiTarget | Sequence[Any] | Tensor | np.ndarray | np.integer | None
)


def terms(target: Target) -> tuple[tuple[float, Target], ...]:
    """Return the (weight, term) pairs of the target; no term is itself a sum."""
    return target.parts if isinstance(target, Sum) else ((1.0, target),)


def combined(parts: Iterable[tuple[float, Target]]) -> Target:
    """Return the weighted sum of the parts, equal terms added; a lone term of weight 1 stays one.

    Terms whose weights cancel are removed, unless all do: `targets.scores` then raises an error
    that names them.
    """
    parts = tuple(parts)
    weights: dict[Target, float] = {}
    for weight, term in parts:
        weights[term] = weights.get(term, 0.0) + weight
    kept = tuple((w, term) for term, w in weights.items() if w != 0)
    if len(kept) == 1 and kept[0][0] == 1:
        return kept[0][1]
    return Sum(kept or parts)


def logit(of_class: int | str) -> Logit:
    """Return the logit of a class, given by index or name."""
    if isinstance(of_class, bool) or not isinstance(of_class, str | int | np.integer):
        raise SeewhyError(f"a class must be an index or a name, not {of_class!r}")
    return Logit(of_class if isinstance(of_class, str) else int(of_class))


def unit(address: str) -> Unit:
    """Return a channel such as "layer3:17", or a cell of a channel such as "layer3:17@4,5"."""
    place = Address.parse(address)
    if place.channel is None:
        raise SeewhyError(f"{place} is a whole layer; name a channel, such as {place.layer}:0")
    return Unit(place)


@overload
def region(address: str, rows: Sequence[int], columns: Sequence[int]) -> Unit: ...


@overload
def region(address: str, rows: Tensor | np.ndarray) -> Masked: ...


def region(
    address: str,
    rows: Sequence[int] | Tensor | np.ndarray,
    columns: Sequence[int] | None = None,
) -> Unit | Masked:
    """Return the sum of a channel over a region.

    - `rows`, `columns`: ranges on the layer's grid; (2, 5) means rows 2, 3 and 4.
    - or one mask (rows x columns, booleans or 0 to 1) of any size, which covers the picture as the
      model sees it: each cell of the layer is weighted by how much the mask covers it.

    Raises SeewhyError if the address is not a channel, and for an empty range or mask.
    """
    place = unit(address).address
    if place.position is not None:
        raise SeewhyError(f"a region must be of a whole channel, not {place}; leave @ out")
    if columns is None:
        return Masked(Unit(place), _mask(rows))
    return Unit(place, rows=_range(rows, "rows"), columns=_range(columns, "columns"))


def total(*classes: int | str | Target, weights: Sequence[float] | None = None) -> Target:
    """Return the sum, or the weighted sum, of several classes and units.

    Raises SeewhyError without classes, and unless there is one weight for each.
    """
    if not classes:
        raise SeewhyError("total() needs at least one class, such as total('dog', 'cat')")
    factors = _numbers([1.0] * len(classes) if weights is None else weights, "weights of total()")
    if len(factors) != len(classes):
        raise SeewhyError(
            f"total() has {len(classes)} classes and {len(factors)} weights; give as many of each"
        )
    return combined(
        (factor * w, term)
        for factor, each_class in zip(factors, classes, strict=True)
        for w, term in terms(_as_target(each_class))
    )


def difference(one: int | str | Target, other: int | str | Target) -> Target:
    """Return one target minus another: why this class rather than that?"""
    return total(one, other, weights=(1.0, -1.0))


def between(one: int | str | Target, other: int | str | Target, count: int) -> list[Target]:
    """Return `count` targets from one to the other, in equal steps of the weights.

    Raises SeewhyError for fewer than 2.
    """
    if not (isinstance(count, int) and count >= 2):
        raise SeewhyError(f"between() needs a count of at least 2, not {count!r}")
    shares = [step / (count - 1) for step in range(count)]
    return [total(one, other, weights=(1 - share, share)) for share in shares]


def direction(
    layer: str, vector: Sequence[float] | Tensor | np.ndarray, name: str = ""
) -> Direction:
    """Return the dot product of a layer's channels with a vector, summed over rows and columns.

    - `layer`: its name, with `#call` for one call of a layer that runs several times.
    - `vector`: one number for each channel of the layer. - `name`: its name in results.

    Raises SeewhyError unless the vector is a sequence of finite numbers.
    """
    place = Address.parse(layer)
    if place.channel is not None or place.position is not None:
        raise SeewhyError(f"a direction must be of a whole layer: {place.layer}, not {place}")
    return Direction(place, _numbers(vector, "vector of direction()"), name)


def each(*targets: Any) -> MultiTarget:
    """Return several targets for every picture, which share one forward pass.

    The explanation has one entry for each target and picture, target by target. None means the most
    probable class. A method that chooses its layer itself uses the same one for all targets: the
    deepest layer that they all depend on.
    """
    if not targets:
        raise SeewhyError("each() needs at least one target, such as each('dog', 'layer3:17')")
    if any(isinstance(target, MultiTarget) for target in targets):
        raise SeewhyError("each() cannot contain each(); put all targets into one call")
    return MultiTarget(targets)


def written(parts: Sequence[tuple[float, str]]) -> str:
    """Return a sum as text: "dog − cat", "dog + 0.5 layer3:17"."""
    texts = []
    for weight, name in parts:
        factor = "" if abs(weight) == 1 else f"{_shortest(abs(weight))} "
        texts.append(f"{'−' if weight < 0 else '+'} {factor}{name}")
    return " ".join(texts).removeprefix("+ ")


def quoted(name: str) -> str:
    """Return the name, in quotation marks if it could otherwise be parsed as something else."""
    if not _UNCLEAR.search(name):
        return name
    mark = '"' if "'" in name else "'"
    return f"{mark}{name}{mark}"


def operand(value: Any) -> Target:
    """Return a target or a text as the operand of a sum of targets."""
    if isinstance(value, Target):
        return value
    if isinstance(value, str):
        return Named(value)
    raise SeewhyError(f"only targets can be added; write logit({value!r}), not {value!r}")


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise SeewhyError(f"the factor of a target must be a finite number, not {value!r}")
    return float(value)


def _shortest(number: float) -> str:
    """Return the shortest decimal that parses to the same number: 0.5, 2, 1e-07."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _range(ends: Any, name: str) -> tuple[int, int]:
    """Return a range of rows or columns as (first, last + 1)."""
    try:
        first, end = (operator.index(n) for n in ends)
    except (TypeError, ValueError):
        raise SeewhyError(f"{name} must be two integers such as (2, 5), not {ends!r}") from None
    if not 0 <= first < end:
        raise SeewhyError(f"{name} must be two increasing integers from 0, not {first} and {end}")
    return first, end


def _mask(values: Any) -> Float[Tensor, "h w"]:
    """Return the mask as float64; raise if it is not a mask, or is zero everywhere."""
    if not isinstance(values, Tensor | np.ndarray):
        raise SeewhyError("region() takes rows and columns, or one mask as a tensor or array")
    mask = torch.as_tensor(values).detach().cpu()
    if mask.ndim != 2 or mask.is_complex():
        raise SeewhyError(f"a mask must have rows and columns, not the shape {tuple(mask.shape)}")
    mask = mask.double()
    if not (mask.isfinite().all() and mask.min() >= 0 and mask.max() <= 1 and mask.any()):
        raise SeewhyError("a mask must contain numbers from 0 to 1, not all of them 0")
    return mask


def _as_target(value: Any) -> Target:
    return (
        value
        if isinstance(value, Target)
        else Named(value)
        if isinstance(value, str)
        else logit(value)
    )


def _numbers(values: Any, what: str) -> tuple[float, ...]:
    """Return a tuple of finite numbers; raise if they are not, or are all zero."""
    try:
        listed = values.tolist() if hasattr(values, "tolist") else values
        numbers = tuple(float(value) for value in listed)
    except (TypeError, ValueError):
        raise SeewhyError(f"{what} must be a sequence of numbers") from None
    if not all(map(math.isfinite, numbers)) or not any(numbers):
        raise SeewhyError(f"{what} must be finite numbers, not all of them zero")
    return numbers


def _wide(values: Tensor) -> Tensor:
    """Return the values in at least float32: sums in half precision lose accuracy."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
