"""Read activations at addresses, on an unmodified network.

maps = capture(model, pixels, ["layer3", "layer4.1:42"])      # stops after the deepest one
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
    """Everything wanted was seen: the forward need not go on.

    Not an Exception, so that a network's own `except Exception` does not swallow it.
    """


def capture(
    model: Model,
    pixels: Tensor,
    addresses: Iterable[str | Address],
    precision: str = "full",
) -> dict[str, Tensor]:
    """Activations at the addresses, raw, without gradients; the forward stops at the deepest.

    Returns the written address -> what lies there: all of a layer's output, or the part that
    a channel or position selects. Of a layer that runs several times the last call is read,
    unless the address names one. With `precision` "fast" the network computes in bfloat16.
    """
    layer_graph = model.layer_graph(pixels)
    wanted = {str(a): Address.parse(a) for a in addresses}
    if not wanted:
        return {}
    calls = {text: layer_graph.call(a) for text, a in wanted.items()}
    found: dict[str, Tensor] = {}

    def hook_for(layer: str) -> OutputHook:
        def hook(tensor: Tensor, call: int) -> None:
            for text, address in wanted.items():
                if address.layer == layer and calls[text] == call:
                    # A copy: what follows in the network may write into the tensor.
                    found[text] = tensor[layer_graph.index(address)].clone()
            if len(found) == len(wanted):
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
        if len(found.get(text, ())) != len(pixels):
            raise SeewhyError(not_as_a_batch(text))
    return found
