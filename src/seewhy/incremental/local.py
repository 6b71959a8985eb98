"""`Local`: a batch of activations that differ from one another in a small tile only."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.incremental.base import Base


class NotLocal(Exception):
    """The network does something that cannot be followed region by region."""


class Local(Tensor):
    """A batch of activations: that of `base` everywhere but in a tile of one size for each.

    - `tiles`: [batch, channels, h, w]. - `top`, `left`: where each tile lies, [batch].
    - `flat`: the one channel's dimension is left out of the shape.

    It answers for its shape as the whole batch would. Functions that are known are carried out
    on the tiles; all others on the whole batch, which is then an ordinary tensor.
    """

    base: Base
    tiles: Tensor
    top: Tensor
    left: Tensor
    flat: bool
    handlers: ClassVar[dict[Callable, Callable]] = {}

    @staticmethod
    def __new__(  # noqa: D102
        cls,
        base: Base,
        tiles: Float[Tensor, "edits channels h w"],
        top: Int[Tensor, " edits"],
        left: Int[Tensor, " edits"],
        flat: bool = False,
    ) -> "Local":
        shape = (len(tiles), *base.value.shape[1:])
        shape = (shape[0], *shape[2:]) if flat else shape
        made = Tensor._make_wrapper_subclass(cls, shape, dtype=tiles.dtype, device=tiles.device)
        made.become(base, tiles, top, left, flat)
        return made

    def become(
        self, base: Base, tiles: Tensor, top: Tensor, left: Tensor, flat: bool = False
    ) -> None:
        """Hold other values: what a function in place does."""
        self.base, self.tiles, self.top, self.left, self.flat = base, tiles, top, left, flat

    @property
    def tile_size(self) -> tuple[int, int]:
        """Height and width of the tiles."""
        return self.tiles.shape[-2], self.tiles.shape[-1]

    def whole(self) -> Float[Tensor, "edits ..."]:
        """The whole batch, as an ordinary tensor."""
        height, width = self.base.size
        zero = torch.zeros_like(self.top)
        whole = self.extended(zero, zero, (height, width))
        if self.base.value.is_contiguous():  # a network that calls `view` relies on it
            whole = whole.contiguous()
        return whole[:, 0] if self.flat else whole

    def become_whole(self, whole: Float[Tensor, "edits channels height width"]) -> None:
        """Hold a batch that differs everywhere: one tile of the size of the map."""
        zero = torch.zeros_like(self.top)
        self.become(Base(whole[:1]), whole, zero, zero)

    def extended(
        self,
        top: Int[Tensor, " edits"],
        left: Int[Tensor, " edits"],
        size: tuple[int, int],
        pad: tuple[int, int, int, int] = (0, 0, 0, 0),
        fill: float = 0.0,
    ) -> Float[Tensor, "edits channels h w"]:
        """Regions that hold the tiles whole; places are counted in the padded activation."""
        if top is self.top and left is self.left and size == self.tile_size and not any(pad):
            return self.tiles
        region = self.base.region(top, left, size, pad, fill)
        y, x = self.top + pad[2] - top, self.left + pad[0] - left
        return pasted(region, self.tiles, y, x)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _ABOUT or getattr(func, "__name__", "") == "__get__":
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        handler = cls.handlers.get(func)
        if handler is not None:
            result = handler(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if isinstance((*args, None)[0], Local) and _writes(func, kwargs):
            raise NotLocal(f"{getattr(func, '__name__', func)} writes into an activation")
        return func(*whole_of(args), **whole_of(kwargs))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        """Something that no one can see has read the tensor."""
        raise NotLocal(f"{func} reads an activation unseen")


_ABOUT = {
    Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.nelement, Tensor.__len__,
    Tensor.is_floating_point, Tensor.is_complex, Tensor.element_size, Tensor.get_device,
    Tensor.is_contiguous, Tensor.stride, torch.is_floating_point, torch.is_complex, torch.numel,
    Tensor.__hash__, Tensor.type,
}  # fmt: skip


def pasted(
    region: Float[Tensor, "edits channels height width"],
    tiles: Float[Tensor, "edits channels h w"],
    y: Int[Tensor, " edits"],
    x: Int[Tensor, " edits"],
) -> Float[Tensor, "edits channels height width"]:
    """The region with each tile at its place in it; the region is written into."""
    h, w = tiles.shape[-2:]
    first = int(y[0]), int(x[0])
    if bool((y == first[0]).all() and (x == first[1]).all()):
        region[:, :, first[0] : first[0] + h, first[1] : first[1] + w] = tiles
        return region
    height, width = region.shape[-2:]
    number = torch.arange(len(tiles), device=y.device)
    rows = number[:, None] * height + y[:, None] + torch.arange(h, device=y.device)
    columns = x[:, None] + torch.arange(w, device=y.device)
    index = (rows[:, :, None] * width + columns[:, None, :]).flatten()
    channels = region.shape[1]
    flat = region.permute(0, 2, 3, 1).reshape(-1, channels)
    flat.index_copy_(0, index, tiles.permute(0, 2, 3, 1).reshape(-1, channels))
    return flat.view(len(tiles), height, width, channels).permute(0, 3, 1, 2)


def whole_of(value: Any) -> Any:
    """The value with whole batches for what is local in it."""
    if isinstance(value, Local):
        return value.whole()
    if isinstance(value, tuple | list):
        return type(value)(whole_of(v) for v in value) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {key: whole_of(v) for key, v in value.items()}
    return value


def _writes(func: Callable, kwargs: dict) -> bool:
    name = getattr(func, "__name__", "")
    if name in ("__setitem__", "__set__") or (name.endswith("_") and not name.endswith("__")):
        return True
    in_place = name.startswith("__i") and name.endswith("__") and name not in _NOT_IN_PLACE
    return in_place or bool(kwargs.get("inplace")) or kwargs.get("out") is not None


_NOT_IN_PLACE = ("__index__", "__int__", "__invert__", "__iter__", "__init__")
