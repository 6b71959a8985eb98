"""Read and edit activations at addresses, on an unmodified network.

maps = capture(model, pixels, ["layer3", "layer4.1:42"])      # stops after the deepest one
with edited(model, {"layer4.1:42": ablate(), "layer3": scale(0.5)}):
    logits = model(pixels)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seewhy.addresses import LISTED, Address
from seewhy.errors import SeewhyError, Unknown
from seewhy.session import borrowed
from seewhy.visiting import Visitor, visiting

if TYPE_CHECKING:
    from seewhy.layers import Anatomy
    from seewhy.model import Model

Edit = Callable[[Tensor], Tensor]


class Reached(BaseException):
    """Everything wanted was seen: the forward need not go on.

    Not an Exception, so that a network's own `except Exception` does not swallow it.
    """


def capture(
    model: "Model",
    pixels: Tensor,
    addresses: Iterable[str | Address],
    precision: str = "full",
) -> dict[str, Tensor]:
    """Activations at the addresses, raw, without gradients; the forward stops at the deepest.

    Returns the written address -> what lies there: all of a layer's output, or the part that
    a channel or position selects. Of a layer that runs several times the last call is read,
    unless the address names one. With `precision` "fast" the network computes in bfloat16.
    """
    anatomy = model.anatomy(pixels)
    wanted = {str(a): Address.parse(a) for a in addresses}
    if not wanted:
        return {}
    calls = {text: anatomy.call(a) for text, a in wanted.items()}
    found: dict[str, Tensor] = {}

    def visitor_for(layer: str) -> Visitor:
        def visit(tensor: Tensor, call: int) -> None:
            for text, address in wanted.items():
                if address.layer == layer and calls[text] == call:
                    # A copy: what follows in the network may write into the tensor.
                    found[text] = tensor[anatomy.index(address)].clone()
            if len(found) == len(wanted):
                raise Reached

        return visit

    layers = {a.layer for a in wanted.values()}
    with (
        borrowed(model.net),
        torch.no_grad(),
        torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "fast"),
        visiting(model.net, {layer: visitor_for(layer) for layer in layers}),
        suppress(Reached),
    ):
        model.forward(pixels)
    for text in wanted:
        if len(found.get(text, ())) != len(pixels):
            raise SeewhyError(not_as_a_batch(text))
    return found


@contextmanager
def edited(model: "Model", edits: Mapping[str | Address, Edit]) -> Iterator["Model"]:
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


def editors(anatomy: "Anatomy", edits: Iterable[tuple[Address, Edit]]) -> dict[str, Visitor]:
    """Visitors that carry the edits out on a forward with this anatomy."""
    by_layer: dict[str, list[tuple[Address, tuple, Edit]]] = {}
    for address, edit in edits:
        anatomy.call(address)
        by_layer.setdefault(address.layer, []).append((address, anatomy.index(address), edit))

    def visitor_for(changes: list[tuple[Address, tuple, Edit]]) -> Visitor:
        def visit(tensor: Tensor, call: int) -> Tensor:
            new = tensor.clone()
            for address, where, edit in changes:
                if address.call in (None, call):
                    new[where] = edit(new[where].clone())
            return new

        return visit

    return {layer: visitor_for(changes) for layer, changes in by_layer.items()}


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
