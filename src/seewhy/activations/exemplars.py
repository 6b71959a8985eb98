"""In which pictures, and where in them, is each channel of a layer most active?

Of many pictures only a few places for each channel are kept: neither activations nor pixels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.activations.capture import capture
from seewhy.errors import SeewhyError, TooLarge
from seewhy.images import Batch, each_of, in_batches, prepare
from seewhy.models.addresses import Address
from seewhy.models.model import Model
from seewhy.support.batching import BatchSizer
from seewhy.support.settings import Progress, Settings

LOADED = 16  # pictures that are prepared together


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Where each channel is most active, in its best pictures, the best one first.

    - `activity`: of the channel there. - `picture`: the number of the picture.
    - `place`: row and column, as shares of the sides of what the model sees of it.
    - `sources`: where each picture is from. - `look`: the picture of a number, prepared, as a
    batch of one; a file is read again. - `left_out`: why pictures could not be looked at.
    - `notes`: what has been found out on the way.
    """

    activity: Float[Tensor, "ranks channels"]
    picture: Int[Tensor, "ranks channels"]
    place: Float[Tensor, "ranks channels 2"]
    sources: tuple[str, ...]
    look: Callable[[int], Batch]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many pictures a channel has."""
        return len(self.activity)

    def stored(self) -> "Exemplars":
        """The same with the pictures it points to in place of a way to read them again."""
        if isinstance(self.look, Kept):
            return self
        return replace(self, look=Kept({n: self.look(n) for n in self.picture.unique().tolist()}))


@dataclass(frozen=True, eq=False)
class Kept:
    """Pictures by number, as batches of one."""

    pictures: dict[int, Batch]

    def __call__(self, number: int) -> Batch:
        """The picture of this number."""
        return self.pictures[number]


def exemplars_of(
    maps: Float[Tensor, "pictures channels h w"], batch: Batch, most: int
) -> Exemplars:
    """The `most` best pictures of each channel, of a batch with these activations."""
    found = _Found.of(maps, range(len(batch))).best(most)
    sources = tuple(picture.source for picture in batch.pictures)

    def look(number: int) -> Batch:
        return batch[number : number + 1]

    return Exemplars(found.activity, found.picture, found.place, sources, look)


def find_exemplars(
    model: Model,
    pictures: Any,
    layer: str,
    most: int,
    settings: Settings,
    tell: Progress | None = None,
) -> Exemplars:
    """The `most` best pictures of each channel, of any number of pictures or a folder of them.

    They are read a few at a time. Of several, one that cannot be read is left out. Raises
    SeewhyError for a layer without rows and columns, and where no picture can be read.
    """
    things, left_out = each_of(pictures), []
    if not things:
        raise SeewhyError("no photographs given; expected at least one")
    preparation = model.preparation

    def look(number: int) -> Batch:
        thing = things[number]
        return thing if isinstance(thing, Batch) else prepare(thing, preparation)

    def lean(number: int) -> Batch:
        return _as_seen(look(number))

    sources: dict[int, str] = {}
    found: _Found | None = None
    rooms: dict[torch.Size, BatchSizer] = {}  # by the size of the pictures
    at_once = settings.most or LOADED
    for numbers, batch in in_batches(range(len(things)), lean, at_once, left_out):
        sources |= {n: p.source for n, p in zip(numbers, batch.pictures, strict=True)}
        sizer = rooms.setdefault(batch.pixels.shape[2:], _sizer(model, batch.pixels, settings))
        for start, maps in _activations(model, batch.pixels, Address.parse(layer), settings, sizer):
            new = _Found.of(maps, numbers[start : start + len(maps)])
            found = (new if found is None else found.joined(new)).best(most)
        if tell:
            tell(numbers[-1] + 1, len(things))
    if found is None:
        raise SeewhyError(f"none of {len(things)} photographs can be read: {left_out[0]}")
    named = tuple(sources.get(number, "") for number in range(len(things)))
    notes = tuple(sizer.note for sizer in rooms.values() if sizer.note)
    return Exemplars(
        found.activity, found.picture, found.place, named, look, tuple(left_out), notes
    )


def _activations(
    model: Model, pixels: Tensor, place: Address, settings: Settings, sizer: BatchSizer
) -> Iterator[tuple[int, Float[Tensor, "pictures channels h w"]]]:
    """The layer's maps, some pictures at a time, and the number of the first of those."""
    grid = model.layer_graph(pixels).layer(place.layer).grid
    if grid is None:
        raise SeewhyError(f"{place} puts out no rows and columns; name another layer")

    def seen(some: slice) -> tuple[int, Tensor]:
        values = capture(model, pixels[some], [place], settings.precision)[str(place)]
        return some.start, grid.maps(values).float().cpu()

    yield from sizer.parts(len(pixels), seen, TooLarge(model.name, *pixels.shape[-2:]))


def _sizer(model: Model, pixels: Tensor, settings: Settings) -> BatchSizer:
    """For pictures of this size; no more than are read together."""
    most = settings.most or LOADED
    return BatchSizer(settings, pixels, recorded=True, device=model.device, most=most)


def _as_seen(batch: Batch) -> Batch:
    """With what the model sees for the pictures: the originals may be a hundred times larger."""
    pairs = zip(batch.pictures, batch.pixels, strict=True)
    seen = (replace(p, pixels=x.float().cpu().expand(3, -1, -1)) for p, x in pairs)
    return replace(batch, pictures=tuple(seen))


@dataclass(frozen=True, eq=False)
class _Found:
    """One peak of each channel in each of some pictures."""

    activity: Float[Tensor, "pictures channels"]
    picture: Int[Tensor, "pictures channels"]
    place: Float[Tensor, "pictures channels 2"]

    @staticmethod
    def of(maps: Float[Tensor, "pictures channels h w"], numbers: Any) -> "_Found":
        """Of each map the maximum."""
        height, width = maps.shape[-2:]
        activity, where = maps.flatten(2).max(2)
        place = torch.stack([(where // width + 0.5) / height, (where % width + 0.5) / width], 2)
        picture = torch.tensor(list(numbers))[:, None].expand_as(where)
        return _Found(activity, picture, place)

    def joined(self, other: "_Found") -> "_Found":
        """With those of other pictures after its own."""
        names = ("activity", "picture", "place")
        return _Found(*(torch.cat([getattr(self, n), getattr(other, n)]) for n in names))

    def best(self, most: int) -> "_Found":
        """Of each channel the most active ones, in order; of equal ones the first."""
        order = self.activity.sort(dim=0, descending=True, stable=True).indices[:most]
        return _Found(
            self.activity.gather(0, order),
            self.picture.gather(0, order),
            self.place.gather(0, order[..., None].expand(-1, -1, 2)),
        )
