"""What can be explained, visualised or edited towards: terms, and their weighted sums.

    logit("tabby"), logit(281)          the logit of a class; `predicted()` the most probable one
    unit("layer3:17")                   a channel, summed over its rows and columns
    unit("layer3:17@4,5"), "fc1:12"     one cell of a channel; a unit of a vector
    region("layer3:17", (2, 5), (0, 4)) rows 2 to 4 and columns 0 to 3 of a channel
    direction("layer3", vector)         activations along a direction, summed over rows and columns
    0.5 * logit("dog") - unit("layer3:17")
    each("tabby", "layer3:17")          several targets for every picture, from one forward pass

A target prints itself the way it can be written as text: "0.5 dog − layer3:17" (see
`targets.parsing`). Prefix tokens of transformers (class, registers) have no row and column and are
not in the sums.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address


class Target:
    """A differentiable score of one picture; targets add up and can be weighted."""

    def __add__(self, other: "Target | str") -> "Target":
        return Sum((*terms(self), *terms(operand(other))))

    def __sub__(self, other: "Target | str") -> "Target":
        return self + -operand(other)

    def __mul__(self, weight: float) -> "Target":
        if not isinstance(weight, Real) or not math.isfinite(weight):
            raise SeewhyError(f"a target is multiplied by a finite number, not by {weight!r}")
        return Sum(tuple((float(weight) * w, term) for w, term in terms(self)))

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
        return f"class {self.of_class}" if isinstance(self.of_class, int) else str(self.of_class)


@dataclass(frozen=True)
class Named(Target):
    """A class or a unit by its text; which of the two, the model says."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Unit(Target):
    """A channel of a layer, summed over its rows and columns, or one cell or a region of it."""

    address: Address
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None

    @property
    def place(self) -> Address:
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


@dataclass(frozen=True)
class Direction(Target):
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
        return written([(weight, quoted(str(term))) for weight, term in self.parts])


@dataclass(frozen=True)
class MultiTarget:
    """Several targets for every picture."""

    targets: tuple[Any, ...]


Hidden = Unit | Direction
TargetLike = (
    int | str | Target | MultiTarget | Sequence[Any] | Tensor | np.ndarray | np.integer | None
)


def terms(target: Target) -> tuple[tuple[float, Target], ...]:
    """The target as (weight, term), none of which is a sum."""
    return target.parts if isinstance(target, Sum) else ((1.0, target),)


def logit(of_class: int | str) -> Logit:
    """The logit of a class, given by index or name."""
    if not isinstance(of_class, str | int | np.integer):
        raise SeewhyError(f"a class is an index or a name, not {of_class!r}")
    return Logit(of_class if isinstance(of_class, str) else int(of_class))


def unit(address: str) -> Unit:
    """A channel such as "layer3:17", or one cell of it, "layer3:17@4,5"."""
    place = Address.parse(address)
    if place.channel is None:
        raise SeewhyError(f"{place} is a whole layer; name a channel, such as {place.layer}:0")
    return Unit(place)


def region(address: str, rows: tuple[int, int], columns: tuple[int, int]) -> Unit:
    """The sum of a channel over some rows and columns: (2, 5) are rows 2, 3 and 4.

    Raises SeewhyError for an address that is no channel, and for an empty range.
    """
    place = unit(address).address
    if place.position is not None:
        raise SeewhyError(f"a region is one of a whole channel; leave @ out of {place}")
    for name, (first, end) in (("rows", rows), ("columns", columns)):
        if not 0 <= first < end:
            raise SeewhyError(f"{name} go from a number to a larger one, not from {first} to {end}")
    return Unit(place, (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1])))


def total(*classes: int | str | Target, weights: Sequence[float] | None = None) -> Sum:
    """The sum of several classes and units, or their weighted sum.

    Raises SeewhyError for no class at all, and for weights that are not one number for each.
    """
    if not classes:
        raise SeewhyError("total() needs at least one class, such as total('dog', 'cat')")
    given = _numbers([1.0] * len(classes) if weights is None else weights, "the weights of total()")
    if len(given) != len(classes):
        raise SeewhyError(f"total() has {len(classes)} classes and {len(given)} weights")
    parts = [
        (weight * w, term)
        for weight, one in zip(given, classes, strict=True)
        for w, term in terms(_as_target(one))
    ]
    return Sum(tuple(parts))


def difference(one: int | str | Target, other: int | str | Target) -> Sum:
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
        factor = "" if abs(weight) == 1 else f"{abs(weight):g} "
        texts.append(f"{'−' if weight < 0 else '+'} {factor}{name}")
    return " ".join(texts).removeprefix("+ ")


def quoted(name: str) -> str:
    """In quotation marks where the name alone could be read as more than a name."""
    unclear = name[:1] in "+-−0123456789'" or any(f" {sign} " in name for sign in "+-−*")
    return f"'{name}'" if unclear else name


def operand(value: Any) -> Target:
    """What is added to a target."""
    if isinstance(value, Target):
        return value
    if isinstance(value, str):
        return Named(value)
    raise SeewhyError(f"a target is added to a target; write logit({value!r}), not {value!r}")


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
