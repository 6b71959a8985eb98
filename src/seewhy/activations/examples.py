"""Photographs by how much they activate a unit: the most, at quantiles, and the least.

    seewhy.examples(model, "layer3:17", "photographs/").save("examples.html")

The most active ones alone exaggerate: they do not say what a unit does most of the time.

Borowski et al. 2021, Exemplary Natural Images Explain CNN Activations Better than State-of-the-Art
Feature Visualization, arXiv 2010.12606; Cammarata et al. 2020, Curve Detectors,
doi 10.23915/distill.00024.003 (examples over the whole range).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seewhy.activations.exemplars import Exemplars, find_exemplars
from seewhy.activations.receptive_field import receptive_field
from seewhy.errors import SeewhyError
from seewhy.images import each_of
from seewhy.models.addresses import Address
from seewhy.models.model import Model
from seewhy.results import Result
from seewhy.support.settings import Settings

QUANTILES = (0.95, 0.75, 0.5, 0.25)
SIDE = 128  # pixels of a crop
SMALLEST = 24  # pixels of the model's input in a crop, so that something can be recognised

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False, repr=False)
class Examples(Result):
    """Photographs over the whole range of a unit's activation.

    - `activation`: the largest activation in each photograph, in descending order. - `sources`: the
    photographs in the same order. - `groups`: the names of the groups, from "most active" to "least
    active". - `shown`: for each group, the ranks of its photographs. - `crops`: the part of each
    shown photograph around the peak that the unit depends on, in [0, 1]. - `field`: height and
    width of the receptive field, in pixels of the model's input.
    """

    model: str
    unit: str
    activation: Float[Tensor, " photographs"]
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    shown: tuple[tuple[int, ...], ...]
    crops: Float[Tensor, "crops 3 side side"]
    field: tuple[int, int]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.activation)

    @property
    def active(self) -> float:
        """The fraction of photographs in which the unit is active, above 0."""
        return float((self.activation > 0).float().mean())


def examples(
    model: Model | nn.Module,
    unit: str,
    images: Any,
    *,
    each: int = 4,
    quantiles: Sequence[float] = QUANTILES,
    precision: str = "full",
    batch_size: int | None = None,
    progress: Report | None = None,
) -> Examples:
    """Rank photographs by the largest activation of a unit, and cut out what it responded to.

    - `unit`: a channel such as "layer3:17". - `images`: photographs, as files or a folder.
    - `each`: photographs in each group. - `quantiles`: of the activation, between the most and the
    least active photographs.

    Raises SeewhyError for a unit without rows and columns, if no photograph can be read, and for
    invalid values.
    """
    model = model if isinstance(model, Model) else Model(model)
    place = Address.parse(unit)
    if place.channel is None or place.position is not None:
        raise SeewhyError(f"name a whole channel, such as {place.layer}:17, not {unit}")
    if not (isinstance(each, int) and each >= 1):
        raise SeewhyError(f"each must be a whole number, at least 1, not {each!r}")
    if not all(0 < q < 1 for q in quantiles):
        raise SeewhyError(f"quantiles must be between 0 and 1, not {list(quantiles)}")
    layer = str(Address(place.layer, place.call))
    count = model.layer_graph().layer(place.layer).channels
    if place.channel >= count:
        raise SeewhyError(f"{unit}: {layer} has {count} channels, counted from 0")
    things = each_of(images)

    def tell(done: int, total: int) -> None:
        if progress:
            progress("photographs", done / total)

    settings = Settings(precision=precision, most=batch_size)
    ranked = find_exemplars(
        model, things, layer, max(1, len(things)), settings, tell, channel=place.channel
    )
    activation = ranked.activity[:, 0]
    order = ranked.picture[:, 0].tolist()
    groups = {"most active": _around(0.0, each, len(order))}
    for quantile in sorted(quantiles, reverse=True):
        groups[f"{quantile:.0%} quantile"] = _around(1 - quantile, each, len(order))
    groups["least active"] = _around(1.0, each, len(order))
    size = (int(s) for s in ranked.look(order[0]).pixels.shape[2:])
    field = receptive_field(model, layer, (next(size), next(size)))
    crops = [_crop(ranked, rank, field) for ranks in groups.values() for rank in ranks]
    return Examples(
        model=model.name,
        unit=str(place),
        activation=activation,
        sources=tuple(ranked.sources[number] for number in order),
        groups=tuple(groups),
        shown=tuple(groups.values()),
        crops=torch.stack(crops),
        field=field,
        left_out=ranked.left_out,
        notes=ranked.notes,
    )


def _around(share: float, each: int, count: int) -> tuple[int, ...]:
    """Return up to `each` ranks around a share of the way from the first to the last."""
    first = round(share * (count - 1) - (each - 1) / 2)
    first = min(max(0, first), max(0, count - each))
    return tuple(range(first, min(count, first + each)))


def _crop(ranked: Exemplars, rank: int, field: tuple[int, int]) -> Float[Tensor, "3 side side"]:
    """Return what the unit saw around its peak in a photograph, as a square."""
    pixels = ranked.look(int(ranked.picture[rank, 0])).pixels[0].float().cpu()
    sides = [min(max(SMALLEST, *field), length) for length in pixels.shape[1:]]
    starts = [
        min(max(0, round(float(share) * length - side / 2)), length - side)
        for share, length, side in zip(ranked.place[rank, 0], pixels.shape[1:], sides, strict=True)
    ]
    part = pixels[:, starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]
    part = part[:3] if len(part) >= 3 else part[:1].expand(3, -1, -1)
    return F.interpolate(
        part[None], (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
    )[0].clamp(0, 1)
