"""What is explained: any differentiable score of the network.

    None, 281, "tabby"                  one class; None is each picture's most probable one
    total("tabby", "tiger cat")         the sum of the logits of several classes, weighted or not
    difference("tabby", "tiger cat")    one logit less another: why this rather than that?
    "layer3:17"                         a channel, summed over its rows and columns
    "layer3:17@4,5", "fc1:12"           one cell of a channel; a unit of a vector
    direction("layer3", vector)         activations along a direction, summed over rows and columns
    each("tabby", "layer3:17")          several questions about every picture, from one forward

One target holds for all pictures; a sequence has one for each. Prefix tokens of transformers
(class, registers) have no row and column and are not in the sums.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import NotApplicable, SeewhyError, Unknown
from seewhy.models.addresses import LISTED, Address
from seewhy.models.layers import LayerGraph
from seewhy.models.model import Model


@dataclass(frozen=True)
class Predicted:
    """The logit of each picture's most probable class."""


@dataclass(frozen=True)
class Total:
    """A weighted sum of logits; a single class is one of one term."""

    classes: tuple[int | str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Unit:
    """A channel of a layer, summed over its rows and columns, or one cell of it."""

    address: Address

    @property
    def place(self) -> Address:
        """The layer, with the call of it that is meant, if one is named."""
        return Address(self.address.layer, self.address.call)

    def __str__(self) -> str:
        return str(self.address)

    def of(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """The unit's score, given its layer's activation as maps."""
        channels, height, width = maps.shape[1:]
        channel, position = self.address.channel or 0, self.address.position
        if channel >= channels:
            raise SeewhyError(f"{self}: {self.place} has {channels} channels, counted from 0")
        if position is None:
            return _wide(maps[:, channel]).sum((1, 2))
        row, column = position
        if not (row < height and column < width):
            raise SeewhyError(
                f"{self}: the grid of {self.place} has {height} rows and {width} columns, "
                "counted from 0"
            )
        return _wide(maps[:, channel, row, column])


@dataclass(frozen=True)
class Direction:
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
class Each:
    """Several questions about every picture."""

    targets: tuple[Any, ...]


Hidden = Unit | Direction
Asked = Predicted | Total | Hidden  # about one picture
Target = int | str | Asked | Each | Sequence[Any] | Tensor | np.ndarray | np.integer | None


def total(*classes: int | str, weights: Sequence[float] | None = None) -> Total:
    """The sum of the logits of several classes, given by index or name, or their weighted sum.

    Raises SeewhyError for no class at all, and for weights that are not one number for each.
    """
    if not classes:
        raise SeewhyError("total() needs at least one class, such as total('dog', 'cat')")
    given = _numbers([1.0] * len(classes) if weights is None else weights, "the weights of total()")
    if len(given) != len(classes):
        raise SeewhyError(f"total() has {len(classes)} classes and {len(given)} weights")
    return Total(classes, given)


def difference(one: int | str, other: int | str) -> Total:
    """The logit of one class less that of another: why this one rather than that?"""
    return Total((one, other), (1.0, -1.0))


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


def each(*targets: Any) -> Each:
    """Several questions about every picture, answered from one forward.

    The explanation has an entry for each question and picture, question by question. Any other
    target can be a question; None asks about the most probable class. A method that finds its layer
    for itself reads one for all questions: the deepest that they all depend on.
    """
    if not targets:
        raise SeewhyError("each() needs at least one target, such as each('dog', 'layer3:17')")
    if any(isinstance(target, Each) for target in targets):
        raise SeewhyError("each() within each(); put all targets into one")
    return Each(targets)


def questions(target: Target, count: int, model: Model, pixels: Tensor) -> list[list[Asked]]:
    """Per question, what is asked about each of `count` pictures.

    Raises SeewhyError for a number of targets that does not fit, Unknown for a unit or a
    direction in a layer that does not exist. Classes are looked up in `seewhy.targets.scores`, when
    the number of logits is known.
    """
    several = target.targets if isinstance(target, Each) else (target,)
    return [_question(one, count, model, pixels) for one in several]


def hidden_of(question: Sequence[Asked]) -> list[Hidden]:
    """The units and directions in hidden layers that are asked about, each once."""
    return list(dict.fromkeys(one for one in question if isinstance(one, Hidden)))


def deepest_layer(hidden: Collection[Hidden], layer_graph: LayerGraph) -> str:
    """The address of the deepest layer with rows and columns that comes before all of `hidden`.

    Also their own layer, if they share one. Raises NotApplicable where there is none.
    """
    order = list(layer_graph.layers)
    first = min(hidden, key=lambda one: order.index(one.place.layer)).place
    before = [layer_graph.layers[name] for name in order[: order.index(first.layer) + 1]]
    if layer_graph.spatial in [layer.name for layer in before[:-1]]:
        return layer_graph.spatial
    for layer in reversed(before):
        if layer.grid and not layer.passive:
            return str(first) if layer.name == first.layer else layer.name
    raise NotApplicable(
        f"no layer before {first} keeps the picture's rows and columns; name one "
        "(layer=, or --layer)"
    )


def class_name(index: int, classes: Sequence[str] | None) -> str:
    """The name of class `index`, or "class 7" where there is no name for it."""
    return classes[index] if classes is not None and index < len(classes) else f"class {index}"


def _question(target: Any, count: int, model: Model, pixels: Tensor) -> list[Asked]:
    if target is None:
        return [Predicted()] * count
    if isinstance(target, Tensor | np.ndarray | np.generic):
        target = target.tolist()
    if isinstance(target, str) or not isinstance(target, Sequence):
        return [_asked(target, model, pixels)] * count
    if len(target) != count:
        raise SeewhyError(f"{len(target)} targets for {count} pictures; give one, or one for each")
    return [_asked(one, model, pixels) for one in target]


def _asked(target: Any, model: Model, pixels: Tensor) -> Asked:
    """What one target asks about one picture."""
    if isinstance(target, str):
        return _unit(target, model, pixels) or Total((target,), (1.0,))
    if isinstance(target, Hidden):
        model.layer_graph(pixels).call(target.place)  # refuses layers and calls that do not exist
    if isinstance(target, Asked):
        return target
    return Total((target,), (1.0,))


def _unit(text: str, model: Model, pixels: Tensor) -> Unit | None:
    """The unit that the text is the address of; None for a class, or what can only be one."""
    try:
        address = Address.parse(text)
    except SeewhyError:
        return None
    if address.channel is None or _is_class(text, model):
        return None
    layer_graph = model.layer_graph(pixels)
    if address.layer not in layer_graph.layers:
        units = [f"{layer}:{address.channel}" for layer in layer_graph.layers]
        raise Unknown("class or unit", text, [*(model.classes or ()), *units], hint=LISTED)
    layer_graph.call(address)
    if address.position and not layer_graph.layers[address.layer].grid:
        raise SeewhyError(f"{address}: {address.layer} has no rows and columns; leave @ out")
    return Unit(address)


def _is_class(text: str, model: Model) -> bool:
    try:
        model.class_index(text, len(model.classes or ()))
    except SeewhyError:
        return False
    return True


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
