"""Find the pictures, and the positions in them, that activate each channel of a layer most.

Only a few positions per channel are kept, neither activations nor pixels.
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

LOADED = 16  # pictures that are loaded and prepared at a time


@dataclass(frozen=True, eq=False)
class Exemplars:
    """The peak activations of each channel, one per picture, in descending order.

    - `activity`: the activation of the channel at the peak. - `picture`: the index of the picture.
    - `place`: row and column of the peak, as shares of the height and width that the model sees.
    - `sources`: the source of each picture. - `look`: returns the prepared picture of an index as a
    batch of one; files are read again. - `left_out`: why pictures were skipped.
    - `notes`: messages for the user.
    """

    activity: Float[Tensor, "ranks channels"]
    picture: Int[Tensor, "ranks channels"]
    place: Float[Tensor, "ranks channels 2"]
    sources: tuple[str, ...]
    look: Callable[[int], Batch]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of pictures per channel."""
        return len(self.activity)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: with the pictures instead of the function that reads them."""
        return vars(self.stored())

    def stored(self) -> "Exemplars":
        """Return a copy that contains its pictures instead of reading them again."""
        if isinstance(self.look, Kept):
            return self
        return replace(self, look=Kept({n: self.look(n) for n in self.picture.unique().tolist()}))


@dataclass(frozen=True, eq=False)
class Kept:
    """Pictures by index, as batches of one."""

    pictures: dict[int, Batch]

    def __call__(self, number: int) -> Batch:
        """Return the picture of this index."""
        return self.pictures[number]


def exemplars_of(
    maps: Float[Tensor, "pictures channels h w"], batch: Batch, most: int
) -> Exemplars:
    """Return the `most` best pictures of each channel, from a batch and its activations."""
    peaks = _Peaks.of(maps, range(len(batch))).best(most)
    sources = tuple(picture.source for picture in batch.pictures)

    def look(number: int) -> Batch:
        return batch[number : number + 1]

    return Exemplars(peaks.activity, peaks.picture, peaks.place, sources, look)


def find_exemplars(
    model: Model,
    pictures: Any,
    layer: str,
    most: int,
    settings: Settings,
    tell: Progress | None = None,
    channel: int | None = None,
) -> Exemplars:
    """Return the `most` best pictures of each channel, from any number of pictures or a folder.

    With `channel`, only that one is kept, and with `most` of at least the number of pictures, all
    of them are ranked. Pictures are read a few at a time. Among several, one that cannot be read is
    skipped. Raises SeewhyError for a layer without rows and columns, and if no picture can be read.
    """
    things, left_out = each_of(pictures), []
    if not things:
        raise SeewhyError("no photographs given; give at least one")
    preparation = model.preparation

    def look(number: int) -> Batch:
        thing = things[number]
        return thing if isinstance(thing, Batch) else prepare(thing, preparation)

    def load(number: int) -> Batch:
        return _as_seen(look(number))

    sources: dict[int, str] = {}
    peaks: _Peaks | None = None
    sizers: dict[torch.Size, BatchSizer] = {}  # by the size of the pictures
    at_once = settings.most or LOADED
    for numbers, batch in in_batches(range(len(things)), load, at_once, left_out):
        sources |= {n: p.source for n, p in zip(numbers, batch.pictures, strict=True)}
        sizer = sizers.setdefault(batch.pixels.shape[2:], _sizer(model, batch.pixels, settings))
        for start, maps in _activations(model, batch.pixels, Address.parse(layer), settings, sizer):
            kept = maps if channel is None else maps[:, channel : channel + 1]
            new = _Peaks.of(kept, numbers[start : start + len(maps)])
            peaks = (new if peaks is None else peaks.joined(new)).best(most)
        if tell:
            tell(numbers[-1] + 1, len(things))
    if peaks is None:
        raise SeewhyError(f"none of {len(things)} photographs can be read: {left_out[0]}")
    all_sources = tuple(sources.get(number, "") for number in range(len(things)))
    notes = tuple(sizer.note for sizer in sizers.values() if sizer.note)
    return Exemplars(
        peaks.activity, peaks.picture, peaks.place, all_sources, look, tuple(left_out), notes
    )


def _activations(
    model: Model, pixels: Tensor, place: Address, settings: Settings, sizer: BatchSizer
) -> Iterator[tuple[int, Float[Tensor, "pictures channels h w"]]]:
    """Yield the layer's maps, some pictures at a time, with the index of the first picture."""
    grid = model.layer_graph(pixels).layer(place.layer).grid
    if grid is None:
        raise SeewhyError(f"the output of {place} has no rows and columns; name another layer")

    def maps_of(part: slice) -> tuple[int, Tensor]:
        values = capture(model, pixels[part], [place], settings.precision)[str(place)]
        return part.start, grid.maps(values).float().cpu()

    yield from sizer.parts(len(pixels), maps_of, TooLarge(model.name, *pixels.shape[-2:]))


def _sizer(model: Model, pixels: Tensor, settings: Settings) -> BatchSizer:
    """Return the batch sizer for pictures of this size; at most as many as are loaded at a time."""
    most = settings.most or LOADED
    return BatchSizer(settings, pixels, recorded=True, device=model.device, most=most)


def _as_seen(batch: Batch) -> Batch:
    """Replace the original pictures, which may be 100 times larger, by what the model sees."""
    pairs = zip(batch.pictures, batch.pixels, strict=True)
    seen = (replace(p, pixels=x.float().cpu().expand(3, -1, -1)) for p, x in pairs)
    return replace(batch, pictures=tuple(seen))


@dataclass(frozen=True, eq=False)
class _Peaks:
    """The peak activation of each channel in each of some pictures."""

    activity: Float[Tensor, "pictures channels"]
    picture: Int[Tensor, "pictures channels"]
    place: Float[Tensor, "pictures channels 2"]

    @staticmethod
    def of(maps: Float[Tensor, "pictures channels h w"], numbers: Any) -> "_Peaks":
        """Return the maximum of each map."""
        height, width = maps.shape[-2:]
        activity, where = maps.flatten(2).max(2)
        place = torch.stack([(where // width + 0.5) / height, (where % width + 0.5) / width], 2)
        picture = torch.tensor(list(numbers))[:, None].expand_as(where)
        return _Peaks(activity, picture, place)

    def joined(self, other: "_Peaks") -> "_Peaks":
        """Return these peaks followed by those of other pictures."""
        names = ("activity", "picture", "place")
        return _Peaks(*(torch.cat([getattr(self, n), getattr(other, n)]) for n in names))

    def best(self, most: int) -> "_Peaks":
        """Return the `most` highest peaks of each channel, in order; ties by picture order."""
        order = self.activity.sort(dim=0, descending=True, stable=True).indices[:most]
        return _Peaks(
            self.activity.gather(0, order),
            self.picture.gather(0, order),
            self.place.gather(0, order[..., None].expand(-1, -1, 2)),
        )
