"""Edit activations at addresses, on an unmodified network.

with edited(model, {"layer4.1:42": ablate(), "layer3": scale(0.5)}):
    logits = model(pixels)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from seewhy.errors import Unknown
from seewhy.models.addresses import LISTED, Address
from seewhy.models.hooks import OutputHook
from seewhy.models.layers import LayerGraph

Edit = Callable[[Tensor], Tensor]


class Editable(Protocol):
    """What edits need of a model: its network, and the list of edits that are in force."""

    net: nn.Module
    edits: list[Sequence[tuple[Address, Edit]]]


Edited = TypeVar("Edited", bound=Editable)


@contextmanager
def edited(model: Edited, edits: Mapping[str | Address, Edit]) -> Iterator[Edited]:
    """While the block runs, the activation at each address is what its edit makes of it.

    The edits hold for whatever runs through `model`, so also for `explain`; they nest. An
    address without a call number means every call.

    Raises Unknown for a layer that does not exist, SeewhyError when a forward finds that a
    channel, position or call does not.
    """
    modules = dict(model.net.named_modules())
    parsed = [(Address.parse(text), edit) for text, edit in edits.items()]
    for address, _ in parsed:
        if address.layer not in modules:
            raise Unknown("layer", address.layer, [m for m in modules if m], hint=LISTED)
    model.edits.append(parsed)
    try:
        yield model
    finally:
        model.edits = [one for one in model.edits if one is not parsed]  # equal ones may nest


def editors(
    layer_graph: LayerGraph, edits: Iterable[tuple[Address, Edit]]
) -> dict[str, OutputHook]:
    """Visitors that carry the edits out on a forward with this layer_graph."""
    by_layer: dict[str, list[tuple[Address, tuple, Edit]]] = {}
    for address, edit in edits:
        layer_graph.call(address)
        by_layer.setdefault(address.layer, []).append((address, layer_graph.index(address), edit))

    def hook_for(changes: list[tuple[Address, tuple, Edit]]) -> OutputHook:
        def hook(tensor: Tensor, call: int) -> Tensor:
            new = tensor.clone()
            for address, where, edit in changes:
                if address.call in (None, call):
                    new[where] = edit(new[where].clone())
            return new

        return hook

    return {layer: hook_for(changes) for layer, changes in by_layer.items()}


def not_as_a_batch(address: str) -> str:
    """What to say of a layer that the network does not run on the whole batch at once."""
    return f"{address} did not run once for the whole batch; give the pictures one by one"


def ablate() -> Edit:
    """Set the activation to zero."""
    return torch.zeros_like


def scale(factor: float) -> Edit:
    """Multiply the activation."""
    return lambda activation: activation * factor


def replace(value: Tensor | float) -> Edit:
    """Put `value`, broadcast, in the activation's place."""
    return lambda activation: torch.zeros_like(activation) + value


def add(direction: Tensor | float) -> Edit:
    """Add `direction`, broadcast."""
    return lambda activation: activation + direction
