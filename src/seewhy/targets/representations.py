"""Terms about a whole layer: how active it is, and how close it is to a given representation.

    energy("features.3")                  the mean square of all activations (deep dream)
    cosine("features.12", vector)         a direction, weighted by the cosine with it
    match("features.12", activation)      minus the relative squared distance from an activation
    caricature("features.12", activation) along an activation, weighted by the cosine with it
    style("features.3", activation)       minus the relative squared distance of Gram matrices
    diversity("features.3")               how different the pictures that share the term are

They are `Hidden` targets, so they can be added to others and explained, too.

Mordvintsev, Olah, Tyka 2015, Inceptionism (deep dream); Mahendran, Vedaldi 2015, arXiv 1412.0035
(inversion); Carter et al. 2019, doi 10.23915/distill.00015 (cosine); Gatys, Ecker, Bethge 2015,
arXiv 1505.07376 (Gram matrices); Olah et al. 2017, doi 10.23915/distill.00007 (diversity).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address
from seewhy.targets.terms import Hidden, direction

SMALLEST_COSINE = 0.1  # below it the cosine counts as this, so that there is a gradient
TINY = 1e-12

Maps = Float[Tensor, "batch channels h w"]


@dataclass(frozen=True)
class Energy(Hidden):
    """The mean square of a layer's activations."""

    place: Address

    def of(self, maps: Maps) -> Float[Tensor, " batch"]:
        """Return the energy of each picture."""
        return maps.float().pow(2).mean((1, 2, 3))

    def __str__(self) -> str:
        return f"energy of {self.place}"


@dataclass(frozen=True, eq=False)
class Cosine(Hidden):
    """The dot product with a vector at each position, times the cosine to a power; the mean."""

    place: Address
    vector: Float[Tensor, " channels"]
    power: float = 2.0
    name: str = ""

    def of(self, maps: Maps) -> Float[Tensor, " batch"]:
        """Return the score of each picture."""
        maps, vector = maps.float(), _fitting(self.vector, maps, self)[None, :, None, None]
        return _along(maps, vector, self.power, (1,)).mean((1, 2))

    def __str__(self) -> str:
        return self.name or f"direction in {self.place}, by cosine"


@dataclass(frozen=True, eq=False)
class Match(Hidden):
    """Minus the squared distance from an activation, as a share of its squared length.

    - `weights`: the weight of each channel, such as 0 for those that are left out; None: all 1.
    """

    place: Address
    reference: Float[Tensor, "channels h w"]
    weights: Float[Tensor, " channels"] | None = None

    def of(self, maps: Maps) -> Float[Tensor, " batch"]:
        """Return minus the relative error of each picture."""
        maps, there = maps.float(), _same_shape(self.reference, maps, self)
        weights = maps.new_ones(maps.shape[1]) if self.weights is None else self.weights.to(maps)
        weights = weights[:, None, None]
        return -(weights * (maps - there) ** 2).sum((1, 2, 3)) / (
            (weights * there**2).sum().clamp_min(TINY)
        )

    def __str__(self) -> str:
        return f"match at {self.place}"


@dataclass(frozen=True, eq=False)
class Caricature(Hidden):
    """The dot product with an activation, times the cosine to a power."""

    place: Address
    reference: Float[Tensor, "channels h w"]
    power: float = 1.0

    def of(self, maps: Maps) -> Float[Tensor, " batch"]:
        """Return the score of each picture."""
        maps, there = maps.float(), _same_shape(self.reference, maps, self)
        return _along(maps, there[None], self.power, (1, 2, 3)) / there.numel()

    def __str__(self) -> str:
        return f"caricature at {self.place}"


@dataclass(frozen=True, eq=False)
class Style(Hidden):
    """Minus the relative squared distance of the Gram matrix from that of an activation."""

    place: Address
    reference: Float[Tensor, "channels h w"]

    def of(self, maps: Maps) -> Float[Tensor, " batch"]:
        """Return the score of each picture."""
        here, there = gram(maps.float()), gram(self.reference[None].to(maps).float())
        if here.shape[1:] != there.shape[1:]:
            raise SeewhyError(
                f"{self}: {self.place} has {here.shape[1]} channels, but the reference has "
                f"{there.shape[1]}"
            )
        return -(here - there).pow(2).sum((1, 2)) / there.pow(2).sum().clamp_min(TINY)

    def __str__(self) -> str:
        return f"style of {self.place}"


@dataclass(frozen=True, eq=False)
class Diversity(Hidden):
    """Minus the mean cosine between the Gram matrix of a picture and those of the others.

    The others are the pictures of the batch whose target has the same term.
    """

    place: Address

    def of(self, maps: Maps) -> Float[Tensor, " batch"]:
        """Return the diversity of each picture, 0 for a single one."""
        if len(maps) == 1:
            return 0 * maps.float().sum((1, 2, 3))
        styles = F.normalize(gram(maps.float()).flatten(1), dim=1)
        return -((styles @ styles.detach().T).sum(1) - 1) / (len(maps) - 1)

    def __str__(self) -> str:
        return f"diversity in {self.place}"


def energy(layer: str) -> Energy:
    """Return the mean square of a layer's activations, which deep dream maximises."""
    return Energy(_layer(layer))


def cosine(
    layer: str, vector: Sequence[float] | Tensor | np.ndarray, power: float = 2.0, name: str = ""
) -> Cosine:
    """Return a direction weighted by the cosine: pictures must be about it and little else.

    - `vector`: one number for each channel. - `power`: of the cosine; 0: the dot product alone.
    """
    checked = direction(layer, vector, name)
    return Cosine(checked.place, torch.tensor(checked.vector), power, name)


def match(
    layer: str,
    activation: Float[Tensor, "channels h w"],
    weights: Float[Tensor, " channels"] | None = None,
) -> Match:
    """Return minus the relative squared distance from an activation, for inversion."""
    return Match(_layer(layer), _maps(activation), weights)


def caricature(
    layer: str, activation: Float[Tensor, "channels h w"], power: float = 1.0
) -> Caricature:
    """Return the dot product with an activation, times the cosine to a power."""
    return Caricature(_layer(layer), _maps(activation), power)


def style(layer: str, activation: Float[Tensor, "channels h w"]) -> Style:
    """Return minus the relative squared distance of the Gram matrices; sizes may differ."""
    return Style(_layer(layer), _maps(activation))


def diversity(layer: str) -> Diversity:
    """Return how different the pictures that share this term are, from -1 to 0."""
    return Diversity(_layer(layer))


def gram(maps: Maps) -> Float[Tensor, "batch channels channels"]:
    """Return the mean over positions of the products of all pairs of channels."""
    flat = maps.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def _along(maps: Tensor, there: Tensor, power: float, axes: tuple[int, ...]) -> Tensor:
    """Return the dot product over `axes`, times the cosine, at least 0.1, to the power."""
    dot = (maps * there).sum(axes)
    if not power:
        return dot
    lengths = maps.pow(2).sum(axes).sqrt() * there.pow(2).sum(axes).sqrt()
    return dot * (dot / lengths.clamp_min(TINY)).clamp_min(SMALLEST_COSINE) ** power


def _layer(text: str) -> Address:
    place = Address.parse(text)
    if place.channel is not None or place.position is not None:
        raise SeewhyError(f"name a whole layer: {place.layer}, not {place}")
    return place


def _maps(activation: Tensor) -> Tensor:
    if not isinstance(activation, Tensor) or activation.ndim != 3:
        raise SeewhyError("the activation must be a tensor [channels, rows, columns]")
    return activation.detach()


def _fitting(vector: Tensor, maps: Tensor, term: Hidden) -> Tensor:
    if len(vector) != maps.shape[1]:
        raise SeewhyError(
            f"{term}: {term.place} has {maps.shape[1]} channels, but the vector has "
            f"{len(vector)} numbers; give one number for each channel"
        )
    return vector.to(maps)


def _same_shape(reference: Tensor, maps: Tensor, term: Hidden) -> Tensor:
    if reference.shape != maps.shape[1:]:
        raise SeewhyError(
            f"{term}: {term.place} is {tuple(maps.shape[1:])} here, but the reference is "
            f"{tuple(reference.shape)}; use pictures of the same size"
        )
    return reference.to(maps)
