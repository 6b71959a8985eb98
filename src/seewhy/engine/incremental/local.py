"""A batch of activations that differ from one another in a tile each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from jaxtyping import Shaped
from torch import Tensor

from seewhy.engine.incremental.once import Once
from seewhy.engine.incremental.tiles import Spans, cut, paste

# Properties that hand out values.
_VALUES = {"T", "mT", "H", "mH", "real", "imag", "data"}
# Functions that ask about a tensor and not about its values.
_QUESTIONS = {
    *("size", "dim", "ndimension", "stride", "numel", "nelement", "is_contiguous", "__len__"),
    *("is_floating_point", "is_complex", "element_size", "get_device", "storage_offset"),
    *("is_inference", "__hash__"),
}


class NotLocal(Exception):
    """The network does something that cannot be followed region by region."""


@dataclass
class Run:
    """What the activations of one run have in common.

    - `followed`: each function that was followed region by region, with the share of the map that
    was computed, or that met a local activation and was computed on whole maps, with a 1.
    """

    functions: Mapping[Callable, Callable]
    dense_share: float
    once: Once
    followed: list[tuple[str, float]] = field(default_factory=list)

    def pays(self, function: Callable, spans: Spans) -> bool:
        """Whether to go on locally where a function has to compute these spans."""
        rows, columns = spans
        share = rows.size * columns.size / (rows.length * columns.length)
        if share <= self.dense_share:
            self.note(function, share)
        return share <= self.dense_share

    def note(self, function: Callable, share: float) -> None:
        """Write down what was computed."""
        self.followed.append((getattr(function, "__name__", str(function)), share))


class Local(Tensor):
    """What looks like a batch of maps, and is one map with a tile per copy that differs from it.

    - `base`: the map of the picture without any edit, with a batch of one; never written into.
    - `tiles`: at `spans` of the axes `axis` and `axis + 1`, what the maps of the copies are there.
    - `spans` is None once the maps had to be computed whole; then `tiles` are the whole maps.

    Functions that are in `run.functions` work on base and tiles. Any other one gets whole maps;
    what it then writes into them, or into a view of them, this tensor shows as well.
    """

    base: Tensor
    tiles: Tensor
    axis: int
    spans: Spans | None
    run: Run
    _relatives: list[ref]  # to all that stand for the same values, this one too

    @staticmethod
    def __new__(
        cls,
        base: Shaped[Tensor, "1 *map"],
        tiles: Shaped[Tensor, "copies *tile"],
        axis: int,
        spans: Spans,
        run: Run,
    ) -> "Local":
        """Of the type of the tiles, and as large as the whole maps of all copies."""
        shape = (len(tiles), *base.shape[1:])
        strides = (base[0].numel(), *base.stride()[1:])
        self = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, shape, strides=strides, dtype=tiles.dtype, device=tiles.device
        )
        self.base, self.tiles, self.axis, self.spans, self.run = base, tiles, axis, spans, run
        self._relatives = [ref(self)]
        return self

    def __init__(self, *args: Any) -> None:
        """All is done in `__new__`."""

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _only_asks(func):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        met = list(found((args, kwargs)))
        local = [x for x in met if x.spans is not None]
        if local:
            handler = local[0].run.functions.get(func)
            if handler is not None and args and "out" not in kwargs:
                settled = exchanged((args, kwargs), _tiles_if_whole)
                result = handler(func, *settled[0], **settled[1])
                if result is not NotImplemented:
                    return result
            local[0].run.note(func, 1.0)
        return _on_whole_maps(func, met, args, kwargs)

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        raise NotLocal(f"{func} was called past torch's functions")

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"Local(shape={tuple(self.shape)}, tiles={tuple(self.tiles.shape)})"

    def made(
        self, base: Tensor, tiles: Tensor, axis: int | None = None, spans: Spans | None = None
    ) -> "Local":
        """What a function makes of this one, where it stays local."""
        if base is self.base and tiles is self.tiles:
            return self
        axis = self.axis if axis is None else axis
        new = Local(base, tiles, axis, spans or self.region, self.run)
        if _storage(tiles) == _storage(self.tiles):
            self._relatives.append(ref(new))
            new._relatives = self._relatives
        return new

    @property
    def region(self) -> Spans:
        """The spans, where they are known to be there."""
        assert self.spans is not None
        return self.spans

    def alike(self, other: "Local") -> bool:
        """Whether they are maps of one size, laid out alike."""
        return (
            (self.axis, self.ndim) == (other.axis, other.ndim)
            and len(self.tiles) == len(other.tiles)
            and [s.length for s in self.region] == [s.length for s in other.region]
        )

    def on(self, spans: Spans) -> Tensor:
        """The tiles on larger spans; these very tiles where the spans are the same."""
        if all(one.key == other.key for one, other in zip(spans, self.region, strict=True)):
            return self.tiles
        region = cut(self.base, self.axis, spans)
        paste(region, self.tiles, self.axis, spans, self.region)
        return region

    def whole(self) -> Tensor:
        """The maps of all copies. From now on they are this tensor's tiles."""
        if self.spans is not None:
            maps = torch.cat([self.base] * len(self.tiles))
            rows, columns = self.spans
            paste(maps, self.tiles, self.axis, (rows.all, columns.all), self.spans)
            self.tiles, self.spans = maps, None
        return self.tiles

    def has_relatives(self) -> bool:
        """Whether another local tensor that is in use stands for the same values."""
        return any(one() is not None and one() is not self for one in self._relatives)

    def write(self, base: Tensor, tiles: Tensor, spans: Spans) -> "Local":
        """Take over what a function that works in place made of this one."""
        self.base, self.tiles, self.spans = base, tiles, spans
        return self


def found(value: Any) -> Iterator[Local]:
    """The local tensors in nested arguments."""
    if isinstance(value, Local):
        yield value
    elif isinstance(value, dict):
        yield from found(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from found(one)


def exchanged(value: Any, exchange: Callable[[Local], Any]) -> Any:
    """The nested arguments with something else for each local tensor."""
    if isinstance(value, Local):
        return exchange(value)
    if isinstance(value, dict):
        return {key: exchanged(one, exchange) for key, one in value.items()}
    if type(value) in (tuple, list):
        return type(value)(exchanged(one, exchange) for one in value)
    return value


def covering(xs: Sequence[Local]) -> Spans:
    """The smallest spans on which all of them have tiles."""
    rows, columns = xs[0].region
    for x in xs[1:]:
        rows, columns = rows.union(x.region[0]), columns.union(x.region[1])
    return rows, columns


def apply(function: Callable, args: tuple, kwargs: dict) -> Any:
    """The call, as something that `Once` can make."""
    return function(*args, **kwargs)


def writes(function: Callable) -> bool:
    """Whether the function's name says that it writes into its first argument."""
    name = getattr(function, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


def _tiles_if_whole(x: Local) -> Tensor:
    return x if x.spans is not None else x.tiles


def _on_whole_maps(function: Callable, met: list[Local], args: tuple, kwargs: dict) -> Any:
    """What the function says to plain tensors; it may write into them, or hand out views."""
    args, kwargs = exchanged((args, kwargs), Local.whole)
    result = function(*args, **kwargs)
    for x in met:
        if x.has_relatives() and (writes(function) or _storage(x.tiles) in _storages(result)):
            raise NotLocal(f"{function} shares whole maps with tensors that have tiles")
    return next((x for x in met if x.tiles is result), result)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _storages(result: Any) -> set[int]:
    if isinstance(result, Tensor):
        return set() if isinstance(result, Local) else {_storage(result)}
    if isinstance(result, tuple | list):
        return set().union(*map(_storages, result))
    return set()


def _only_asks(function: Callable) -> bool:
    name = getattr(function, "__name__", "")
    if name == "__get__":
        return getattr(getattr(function, "__self__", None), "__name__", "T") not in _VALUES
    return name in _QUESTIONS
