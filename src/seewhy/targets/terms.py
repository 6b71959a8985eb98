"""What can be explained, visualised or edited towards: terms, and their weighted sums.

    logit("tabby"), logit(281)          the logit of a class; None is the most probable one
    unit("layer3:17")                   a channel, summed over its rows and columns
    unit("layer3:17@4,5"), "fc1:12"     one cell of a channel; a unit of a vector
    region("layer3:17", (2, 5), (0, 4)) rows 2 to 4 and columns 0 to 3 of a channel
    region("layer3:17", mask)           a channel under a mask, such as an object's
    direction("layer3", vector)         activations along a direction, summed over rows and columns
    0.5 * logit("dog") - unit("layer3:17")
    each("tabby", "layer3:17")          several targets for every picture, from one forward pass

A target prints itself the way it can be written as text, "0.5 dog − layer3:17" (see
`targets.parsing`), but for masks and directions, which have no text form. Equal terms of a sum are
added up, so that a + b - b is a. Prefix tokens of transformers (class, registers) have no row and
column and are not in the sums.
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

# A name that starts like a weight, a sign or a quotation, holds a sign between spaces, or reads as
# a channel's address or as the text of another target.
_UNCLEAR = re.compile(
    r"""^[-+−.\d'"]|\s[-+−*]\s|:\d+(@.*)?$|^class \d+$|^predicted class$|^\s|\s$"""
)


class Target:
    """A differentiable score of one picture; targets add up and can be weighted."""

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
    """A score of a hidden layer's activation: subclass it for a kind of term of your own."""

    place: Address  # the layer, with the call of it that is meant, if one is named

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()} of {self.place}"

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """The score of each picture, given the layer's activation as maps; differentiable."""
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
    """A class or a unit by its text; which of the two, the model says."""

    text: str

    def __str__(self) -> str:
        unit_or_quoted = ":" in self.text or self.text[:1] in ("'", '"')
        return self.text if unit_or_quoted else quoted(self.text)


@dataclass(frozen=True)
class Unit(Hidden):
    """A channel of a layer, summed over its rows and columns, or one cell or a region of it."""

    address: Address
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None

    @property
    def place(self) -> Address:  # type: ignore[override]
        """The layer, with the call of it that is meant, if one is named."""
        return Address(self.address.layer, self.address.call)

    def __str__(self) -> str:
        if self.rows is None or self.columns is None:
            return str(self.address)
        (top, bottom), (left, right) = self.rows, self.columns
        return f"{self.address}@{top}:{bottom},{left}:{right}"

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """The unit's score, given its layer's activation as maps."""
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

    @property
    def place(self) -> Address:  # type: ignore[override]
        """The layer, with the call of it that is meant, if one is named."""
        return self.unit.place

    def __str__(self) -> str:
        return f"{self.unit} under a mask of {float(self.mask.mean()):.0%}"

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """The score, given the layer's activation as maps; a cell counts as far as it is covered.

        Raises SeewhyError where the layer has no rows and columns.
        """
        if maps.shape[-2:] == (1, 1):
            raise SeewhyError(f"{self}: {self.place} has no rows and columns")
        maps = _wide(maps)
        height, width = maps.shape[-2:]
        cells = F.adaptive_avg_pool2d(self.mask.to(maps)[None], (height, width))
        channel = self.unit.address.channel or 0
        self.unit.of(maps)  # refuses a channel that does not exist
        return (cells * maps[:, channel]).sum((1, 2))


@dataclass(frozen=True)
class Direction(Hidden):
    """The sum over rows and columns of <activation, vector>, over a layer's channels."""

    place: Address
    vector: tuple[float, ...]
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"direction in {self.place}"

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """The direction's score, given the layer's activation as maps."""
        maps = _wide(maps)
        if len(self.vector) != maps.shape[1]:
            raise SeewhyError(
                f"{self}: {self.place} has {maps.shape[1]} channels, the vector {len(self.vector)} "
                "numbers; give one for each channel"
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
    """The target as (weight, term), none of which is a sum."""
    return target.parts if isinstance(target, Sum) else ((1.0, target),)


def combined(parts: Iterable[tuple[float, Target]]) -> Target:
    """The weighted sum of the parts, each term once; the term itself where it is the only one.

    Terms whose weights cancel are left out, unless none would be left: a score of zero is refused
    when it is asked about, by name.
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
    """The logit of a class, given by index or name."""
    if isinstance(of_class, bool) or not isinstance(of_class, str | int | np.integer):
        raise SeewhyError(f"a class is an index or a name, not {of_class!r}")
    return Logit(of_class if isinstance(of_class, str) else int(of_class))


def unit(address: str) -> Unit:
    """A channel such as "layer3:17", or one cell of it, "layer3:17@4,5"."""
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
    """The sum of a channel over a region.

    - `rows`, `columns`: of the layer's grid; (2, 5) are rows 2, 3 and 4.
    - or one mask (rows x columns, booleans or 0 to 1) of any size, which is laid over the picture
      as the model sees it: each cell of the layer counts as far as the mask covers it.

    Raises SeewhyError for an address that is no channel, and for an empty range or mask.
    """
    place = unit(address).address
    if place.position is not None:
        raise SeewhyError(f"a region is one of a whole channel; leave @ out of {place}")
    if columns is None:
        return Masked(Unit(place), _mask(rows))
    return Unit(place, rows=_range(rows, "rows"), columns=_range(columns, "columns"))


def total(*classes: int | str | Target, weights: Sequence[float] | None = None) -> Target:
    """The sum of several classes and units, or their weighted sum.

    Raises SeewhyError for no class at all, and for weights that are not one number for each.
    """
    if not classes:
        raise SeewhyError("total() needs at least one class, such as total('dog', 'cat')")
    given = _numbers([1.0] * len(classes) if weights is None else weights, "the weights of total()")
    if len(given) != len(classes):
        raise SeewhyError(f"total() has {len(classes)} classes and {len(given)} weights")
    return combined(
        (weight * w, term)
        for weight, one in zip(given, classes, strict=True)
        for w, term in terms(_as_target(one))
    )


def difference(one: int | str | Target, other: int | str | Target) -> Target:
    """One target less another: why this class rather than that?"""
    return total(one, other, weights=(1.0, -1.0))


def direction(
    layer: str, vector: Sequence[float] | Tensor | np.ndarray, name: str = ""
) -> Direction:
    """The sum over rows and columns of <activation, vector>.

    - `layer`: its name, with `#call` for one call of a layer that runs several times.
    - `vector`: a number for each channel of the layer. - `name`: what to call it in results.

    Raises SeewhyError for a vector that is not a row of finite numbers.
    """
    place = Address.parse(layer)
    if place.channel is not None or place.position is not None:
        raise SeewhyError(f"a direction is one of a whole layer; write {place.layer}, not {place}")
    return Direction(place, _numbers(vector, "the vector of direction()"), name)


def each(*targets: Any) -> MultiTarget:
    """Several targets for every picture, answered from one forward pass.

    The explanation has an entry for each target and picture, target by target. None asks about the
    most probable class. A method that finds its layer for itself reads one for all targets: the
    deepest that they all depend on.
    """
    if not targets:
        raise SeewhyError("each() needs at least one target, such as each('dog', 'layer3:17')")
    if any(isinstance(target, MultiTarget) for target in targets):
        raise SeewhyError("each() within each(); put all targets into one")
    return MultiTarget(targets)


def written(parts: Sequence[tuple[float, str]]) -> str:
    """A sum as it is written: "dog − cat", "dog + 0.5 layer3:17"."""
    texts = []
    for weight, name in parts:
        factor = "" if abs(weight) == 1 else f"{_shortest(abs(weight))} "
        texts.append(f"{'−' if weight < 0 else '+'} {factor}{name}")
    return " ".join(texts).removeprefix("+ ")


def quoted(name: str) -> str:
    """In quotation marks where the name alone could be read as something else."""
    if not _UNCLEAR.search(name):
        return name
    mark = '"' if "'" in name else "'"
    return f"{mark}{name}{mark}"


def operand(value: Any) -> Target:
    """What is added to a target."""
    if isinstance(value, Target):
        return value
    if isinstance(value, str):
        return Named(value)
    raise SeewhyError(f"a target is added to a target; write logit({value!r}), not {value!r}")


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise SeewhyError(f"a target is multiplied by a finite number, not by {value!r}")
    return float(value)


def _shortest(number: float) -> str:
    """The shortest decimal that reads back as the same number: 0.5, 2, 1e-07."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _range(ends: Any, name: str) -> tuple[int, int]:
    """A first row or column, and the one after the last."""
    try:
        first, end = (operator.index(n) for n in ends)
    except (TypeError, ValueError):
        raise SeewhyError(f"{name} are two whole numbers, such as (2, 5), not {ends!r}") from None
    if not 0 <= first < end:
        raise SeewhyError(f"{name} go from a number to a larger one, not from {first} to {end}")
    return first, end


def _mask(values: Any) -> Float[Tensor, "h w"]:
    """A mask as float64; refused where it is no mask, or hides everything."""
    if not isinstance(values, Tensor | np.ndarray):
        raise SeewhyError("region() takes rows and columns, or one mask as a tensor or an array")
    mask = torch.as_tensor(values).detach().cpu()
    if mask.ndim != 2 or mask.is_complex():
        raise SeewhyError(f"a mask has rows and columns, not the shape {tuple(mask.shape)}")
    mask = mask.double()
    if not (mask.isfinite().all() and mask.min() >= 0 and mask.max() <= 1 and mask.any()):
        raise SeewhyError("a mask is made of numbers from 0 to 1, not all of them 0")
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
    """Finite numbers, of which not all are zero."""
    try:
        found = tuple(float(v) for v in (values.tolist() if hasattr(values, "tolist") else values))
    except (TypeError, ValueError):
        raise SeewhyError(f"{what} must be a row of numbers") from None
    if not all(map(math.isfinite, found)) or not any(found):
        raise SeewhyError(f"{what} must be finite numbers, not all of them zero")
    return found


def _wide(values: Tensor) -> Tensor:
    """In at least float32: sums of half precision lose what they are about."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
