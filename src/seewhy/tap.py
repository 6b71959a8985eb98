"""Read and edit activations at addresses, on an unmodified network.

    maps = capture(model, pixels, ["layer3", "layer4.1:42"])      # stops after the deepest one
    with edited(model, {"layer4.1:42": ablate(), "layer3": scale(0.5)}):
        logits = model(pixels)

Every hook is removed when the block ends, also on an exception.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seewhy.addresses import Address
from seewhy.session import borrowed

if TYPE_CHECKING:
    from seewhy.model import Model

Visitor = Callable[[Tensor, int], Tensor | None]
Edit = Callable[[Tensor], Tensor]


class Reached(BaseException):
    """Everything wanted was seen: the forward need not go on.

    Not an Exception, so that a network's own `except Exception` does not swallow it.
    """


@contextmanager
def visiting(net: nn.Module, visitors: Mapping[str, Visitor]) -> Iterator[None]:
    """Show each named layer's output to its visitor, with the number of the call (from 0).

    A visitor that returns a tensor replaces the output. Of a tuple, list, dict or dataclass
    output the first tensor counts.
    """
    calls: Counter[str] = Counter()

    def hook_for(name: str, visitor: Visitor) -> Callable:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            tensor = first_tensor(output)
            if tensor is None:
                return None
            calls[name] += 1
            new = visitor(tensor, calls[name] - 1)
            return None if new is None else _replaced(output, new)

        return hook

    modules = dict(net.named_modules())
    handles = []
    try:
        for name, visitor in visitors.items():
            handles.append(modules[name].register_forward_hook(hook_for(name, visitor)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def capture(
    model: "Model", pixels: Tensor, addresses: Iterable[str | Address]
) -> dict[str, Tensor]:
    """Activations at the addresses, raw, without gradients; the forward stops at the deepest.

    Returns the written address -> what lies there: all of a layer's output, or the part that
    a channel or position selects. Of a layer that runs several times the last call is read,
    unless the address names one.
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
        visiting(model.net, {layer: visitor_for(layer) for layer in layers}),
        suppress(Reached),
    ):
        model.forward(pixels)
    return found


@contextmanager
def edited(model: "Model", edits: Mapping[str | Address, Edit]) -> Iterator["Model"]:
    """While the block runs, the activation at each address is what its edit makes of it."""
    anatomy = model.anatomy()
    by_layer: dict[str, list[tuple[Address, Edit]]] = {}
    for text, edit in edits.items():
        address = Address.parse(text)
        anatomy.layer(address.layer)
        by_layer.setdefault(address.layer, []).append((address, edit))

    def visitor_for(changes: list[tuple[Address, Edit]]) -> Visitor:
        def visit(tensor: Tensor, call: int) -> Tensor:
            new = tensor.clone()
            for address, edit in changes:
                if address.call in (None, call):
                    where = anatomy.index(address)
                    new[where] = edit(new[where].clone())
            return new

        return visit

    visitors = {layer: visitor_for(changes) for layer, changes in by_layer.items()}
    with visiting(model.net, visitors):
        yield model


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


def first_tensor(output: Any) -> Tensor | None:
    """The first tensor of a module's output: a tensor, a sequence, a mapping, or nothing."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = output.values()
    if isinstance(output, Iterable) and not isinstance(output, str | bytes):
        return next((v for v in output if isinstance(v, Tensor)), None)
    return None


def _replaced(output: Any, new: Tensor) -> Any:
    """`output` with its first tensor exchanged for `new`, in the same container type."""
    if isinstance(output, Tensor):
        return new
    old = first_tensor(output)
    if isinstance(output, Mapping):
        key = next(k for k, v in output.items() if v is old)
        changed = dict(output)
        changed[key] = new
        return changed if type(output) is dict else type(output)(**changed)
    items = [new if item is old else item for item in output]
    return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
