"""Read activations at addresses from an unmodified network.

maps = capture(model, pixels, ["layer3", "layer4.1:42"])      # stops after the deepest layer
"""

from collections.abc import Iterable
from contextlib import suppress

import torch
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address
from seewhy.models.edits import not_as_a_batch
from seewhy.models.hooks import OutputHook, hooked
from seewhy.models.model import Model
from seewhy.models.session import borrowed


class Reached(BaseException):
    """Raised to stop the forward pass once all requested activations are read.

    It is not an Exception, so that an `except Exception` in the network does not catch it.
    """


def capture(
    model: Model,
    pixels: Tensor,
    addresses: Iterable[str | Address],
    precision: str = "full",
) -> dict[str, Tensor]:
    """Return raw activations without gradients; the forward pass stops at the deepest layer.

    The keys are the addresses as text. The values are whole outputs of layers, or the parts that a
    channel or position selects. If a layer runs several times, its last call is read unless the
    address names a call. With `precision` "fast" the network computes in bfloat16.
    """
    layer_graph = model.layer_graph(pixels)
    wanted = {str(a): Address.parse(a) for a in addresses}
    if not wanted:
        return {}
    calls = {text: layer_graph.call(a) for text, a in wanted.items()}
    activations: dict[str, Tensor] = {}

    def hook_for(layer: str) -> OutputHook:
        def hook(tensor: Tensor, call: int) -> None:
            for text, address in wanted.items():
                if address.layer == layer and calls[text] == call:
                    # A copy, because later operations of the network may overwrite the tensor.
                    activations[text] = tensor[layer_graph.index(address)].clone()
            if len(activations) == len(wanted):
                raise Reached

        return hook

    layers = {a.layer for a in wanted.values()}
    with (
        borrowed(model.net),
        torch.no_grad(),
        torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "fast"),
        hooked(model.net, {layer: hook_for(layer) for layer in layers}),
        suppress(Reached),
    ):
        model.forward(pixels)
    for text in wanted:
        if len(activations.get(text, ())) != len(pixels):
            raise SeewhyError(not_as_a_batch(text))
    return activations
