"""The parts of a forward pass that a method requests beforehand."""

import dataclasses
from dataclasses import dataclass

from seewhy.autodiff.rules import GRADIENT, Rules
from seewhy.models.addresses import Address

INPUT = "input"
ATTENTION = "attention"
NO_LAYER = (INPUT, ATTENTION)
Through = tuple[str | tuple[str, ...], ...]


@dataclass(frozen=True)
class Request:
    """A request for the activation at an address and for the gradient there under `rules`.

    - `at`: the address of a layer, INPUT for the pixels, ATTENTION for all attention matrices.
    - `rules`: the rules of the backward pass; None: no gradient.
    - `through`: addresses of channels; the backward pass goes through their layers only at these
      channels. Addresses of layers: the channels are chosen later.
    """

    at: str = INPUT
    rules: Rules | None = GRADIENT
    through: tuple[str, ...] = ()


def place_of(channels: str | tuple[str, ...]) -> Address:
    """Return the address of the layer (and its call) that contains the channels."""
    address = Address.parse(channels if isinstance(channels, str) else channels[0])
    return dataclasses.replace(address, channel=None, position=None)
