"""Edit activations at given addresses, without changing the network.

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
from seewhy.support.user_code import user_code

Edit = Callable[[Tensor], Tensor]


class Editable(Protocol):
    """What edits require of a model: its network, and the list of active edits."""

    net: nn.Module
    edits: list[Sequence[tuple[Address, Edit]]]


Edited = TypeVar("Edited", bound=Editable)


@contextmanager
def edited(model: Edited, edits: Mapping[str | Address, Edit]) -> Iterator[Edited]:
    """Apply each edit to the activation at its address while the block runs.

    The edits apply to everything that runs `model`, including `explain`, and can be nested. An
    address without a call number means every call.

    Raises Unknown for a layer that does not exist. A forward pass raises SeewhyError for a channel,
    position or call that does not exist.
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
        # Compared by identity, because equal edits may be nested.
        model.edits = [active for active in model.edits if active is not parsed]


def editors(
    layer_graph: LayerGraph, edits: Iterable[tuple[Address, Edit]]
) -> dict[str, OutputHook]:
    """Return hooks, by layer, that apply the edits in a forward pass with this layer graph."""
    by_layer: dict[str, list[tuple[Address, tuple, Edit]]] = {}
    for address, edit in edits:
        layer_graph.call(address)
        by_layer.setdefault(address.layer, []).append((address, layer_graph.index(address), edit))

    def hook_for(changes: list[tuple[Address, tuple, Edit]]) -> OutputHook:
        def hook(tensor: Tensor, call: int) -> Tensor:
            new = tensor.clone()
            for address, index, edit in changes:
                if address.call in (None, call):
                    with user_code(f"the edit at {address}"):
                        new[index] = edit(new[index].clone())
            return new

        return hook

    return {layer: hook_for(changes) for layer, changes in by_layer.items()}


def not_as_a_batch(address: str) -> str:
    """Return the error message for a layer that does not run once on the whole batch."""
    return f"{address} did not run once for the whole batch; give one picture at a time"


def ablate() -> Edit:
    """Return an edit that sets the activation to zero."""
    return torch.zeros_like


def scale(factor: float) -> Edit:
    """Return an edit that multiplies the activation by `factor`."""
    return lambda activation: activation * factor


def replace(value: Tensor | float) -> Edit:
    """Return an edit that replaces the activation by `value`, which is broadcast."""
    return lambda activation: torch.zeros_like(activation) + value


def add(direction: Tensor | float) -> Edit:
    """Return an edit that adds `direction`, which is broadcast, to the activation."""
    return lambda activation: activation + direction
