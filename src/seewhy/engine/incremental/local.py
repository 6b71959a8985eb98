"""A batch of activations that equal one map except in one tile each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from jaxtyping import Shaped
from torch import Tensor

from seewhy.engine.incremental.once import Once
from seewhy.engine.incremental.tiles import Spans, cut, paste

# Properties that return values.
_VALUES = {"T", "mT", "H", "mH", "real", "imag", "data"}
# Functions that return a tensor's metadata, not its values.
_METADATA = {
    *("size", "dim", "ndimension", "stride", "numel", "nelement", "is_contiguous", "__len__"),
    *("is_floating_point", "is_complex", "element_size", "get_device", "storage_offset"),
    *("is_inference", "__hash__"),
}


class NotLocal(Exception):
    """Raised if the network does something that cannot be computed region by region."""


@dataclass
class Run:
    """The state that the activations of one run share.

    - `followed`: functions that computed a region, with its share of the map, and functions that
    are not local and computed whole maps, with a share of 1.
    """

    functions: Mapping[Callable, Callable]
    dense_share: float
    once: Once
    followed: list[tuple[str, float]] = field(default_factory=list)

    def pays(self, function: Callable, spans: Spans) -> bool:
        """Return whether computing these spans locally is worthwhile; if so, note the function."""
        rows, columns = spans
        share = rows.size * columns.size / (rows.length * columns.length)
        if share <= self.dense_share:
            self.note(function, share)
        return share <= self.dense_share

    def note(self, function: Callable, share: float) -> None:
        """Append a function and its computed share to `followed`."""
        self.followed.append((getattr(function, "__name__", str(function)), share))


class Local(Tensor):
    """A tensor that looks like a batch of maps, stored as one map and, for each copy, a tile.

    - `base`: the map of the unedited picture, with a batch of one; never written into.
    - `tiles`: the values of the copies' maps at `spans` of the axes `axis` and `axis + 1`.
    - `spans`: None once the maps had to be computed whole; then `tiles` are the whole maps.

    Functions in `run.functions` work on base and tiles. Any other function gets whole maps; what it
    writes into them, or into a view of them, is visible in this tensor too.
    """

    base: Tensor
    tiles: Tensor
    axis: int
    spans: Spans | None
    run: Run
    _relatives: list[ref]  # all tensors that share these values, including this one

    @staticmethod
    def __new__(
        cls,
        base: Shaped[Tensor, "1 *map"],
        tiles: Shaped[Tensor, "copies *tile"],
        axis: int,
        spans: Spans,
        run: Run,
    ) -> "Local":
        """Create a tensor with the dtype of the tiles and the shape of all copies' whole maps."""
        shape = (len(tiles), *base.shape[1:])
        strides = (base[0].numel(), *base.stride()[1:])
        self = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, shape, strides=strides, dtype=tiles.dtype, device=tiles.device
        )
        self.base, self.tiles, self.axis, self.spans, self.run = base, tiles, axis, spans, run
        self._relatives = [ref(self)]
        return self

    def __init__(self, *args: Any) -> None:
        """Do nothing; `__new__` does all."""

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _reads_metadata(func):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        operands = list(found((args, kwargs)))
        local = [x for x in operands if x.spans is not None]
        if local:
            handler = local[0].run.functions.get(func)
            if handler is not None and args and "out" not in kwargs:
                new_args, new_kwargs = exchanged((args, kwargs), _tiles_if_whole)
                result = handler(func, *new_args, **new_kwargs)
                if result is not NotImplemented:
                    return result
            local[0].run.note(func, 1.0)
        return _on_whole_maps(func, operands, args, kwargs)

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        raise NotLocal(f"{func} was called without going through torch's Python functions")

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"Local(shape={tuple(self.shape)}, tiles={tuple(self.tiles.shape)})"

    def made(
        self, base: Tensor, tiles: Tensor, axis: int | None = None, spans: Spans | None = None
    ) -> "Local":
        """Return the local result of a function of this tensor."""
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
        """The spans, which must not be None."""
        assert self.spans is not None
        return self.spans

    def alike(self, other: "Local") -> bool:
        """Return whether both are maps of the same size and layout."""
        return (
            (self.axis, self.ndim) == (other.axis, other.ndim)
            and len(self.tiles) == len(other.tiles)
            and [s.length for s in self.region] == [s.length for s in other.region]
        )

    def on(self, spans: Spans) -> Tensor:
        """Return the tiles on larger spans; for equal spans the tiles themselves."""
        if all(one.key == other.key for one, other in zip(spans, self.region, strict=True)):
            return self.tiles
        region = cut(self.base, self.axis, spans)
        paste(region, self.tiles, self.axis, spans, self.region)
        return region

    def whole(self) -> Tensor:
        """Return the whole maps of all copies, which become this tensor's tiles."""
        if self.spans is not None:
            maps = torch.cat([self.base] * len(self.tiles))
            rows, columns = self.spans
            paste(maps, self.tiles, self.axis, (rows.all, columns.all), self.spans)
            self.tiles, self.spans = maps, None
        return self.tiles

    def has_relatives(self) -> bool:
        """Return whether another living local tensor shares these values."""
        return any(one() is not None and one() is not self for one in self._relatives)

    def write(self, base: Tensor, tiles: Tensor, spans: Spans) -> "Local":
        """Take over the result of an in-place function."""
        self.base, self.tiles, self.spans = base, tiles, spans
        return self


def found(value: Any) -> Iterator[Local]:
    """Yield the local tensors in nested arguments."""
    if isinstance(value, Local):
        yield value
    elif isinstance(value, dict):
        yield from found(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from found(item)


def exchanged(value: Any, exchange: Callable[[Local], Any]) -> Any:
    """Return the nested arguments with each local tensor x replaced by `exchange(x)`."""
    if isinstance(value, Local):
        return exchange(value)
    if isinstance(value, dict):
        return {key: exchanged(item, exchange) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(exchanged(item, exchange) for item in value)
    return value


def covering(xs: Sequence[Local]) -> Spans:
    """Return the smallest spans that cover the tiles of all of them."""
    rows, columns = xs[0].region
    for x in xs[1:]:
        rows, columns = rows.union(x.region[0]), columns.union(x.region[1])
    return rows, columns


def apply(function: Callable, args: tuple, kwargs: dict) -> Any:
    """Call the function; `Once` needs a named function with positional arguments."""
    return function(*args, **kwargs)


def writes(function: Callable) -> bool:
    """Return whether the function, by its name, writes into its first argument."""
    name = getattr(function, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


def _tiles_if_whole(x: Local) -> Tensor:
    return x if x.spans is not None else x.tiles


def _on_whole_maps(function: Callable, operands: list[Local], args: tuple, kwargs: dict) -> Any:
    """Call the function on whole maps; it may write into them or return views of them."""
    args, kwargs = exchanged((args, kwargs), Local.whole)
    result = function(*args, **kwargs)
    for x in operands:
        if x.has_relatives() and (writes(function) or _storage(x.tiles) in _storages(result)):
            raise NotLocal(f"{function} writes into or returns maps that other tensors share")
    return next((x for x in operands if x.tiles is result), result)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _storages(result: Any) -> set[int]:
    if isinstance(result, Tensor):
        return set() if isinstance(result, Local) else {_storage(result)}
    if isinstance(result, tuple | list):
        return set().union(*map(_storages, result))
    return set()


def _reads_metadata(function: Callable) -> bool:
    """Return whether the function only reads a tensor's metadata."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        return getattr(getattr(function, "__self__", None), "__name__", "T") not in _VALUES
    return name in _METADATA
