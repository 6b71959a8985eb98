"""What a method says beforehand that it will read of a forward pass."""

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
    """The activation at a place and, under `rules`, the gradient there.

    - `at`: a layer's address, INPUT for the pixels, ATTENTION for all attention matrices.
    - `rules`: None: no gradient.
    - `through`: addresses of channels; what is pulled back passes their layers only there. Of a
      layer, so that channels can be named later.
    """

    at: str = INPUT
    rules: Rules | None = GRADIENT
    through: tuple[str, ...] = ()


def place_of(channels: str | tuple[str, ...]) -> Address:
    """The layer, and the call of it, that channels lie in."""
    address = Address.parse(channels if isinstance(channels, str) else channels[0])
    return dataclasses.replace(address, channel=None, position=None)
