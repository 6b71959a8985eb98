"""The layers of a network in execution order: names, shapes, grids, and the default layer.

`trace_layers` runs one picture through a network and records the output shape of every module.
`LayerGraph.spatial` is the default layer of CAM methods: the deepest layer that still has rows and
columns and that the logits depend on. That is `layer4` of a ResNet, `features` of a VGG, SqueezeNet
or DenseNet, `norm` of a Swin, and `blocks.11.norm1` of a ViT: after its last attention block only
the class token is read, so the patches there have no gradient.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from seewhy.errors import SeewhyError, Unknown
from seewhy.models.addresses import LISTED, Address
from seewhy.models.grids import Grid, find_grid
from seewhy.models.hooks import hooked
from seewhy.models.locating import changed_pictures, is_ambiguous, located
from seewhy.models.session import borrowed

# Their outputs are copies or averages of the previous layer, which is the better choice.
_PASSIVE = (
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten,
)  # fmt: skip


class Traceable(Protocol):
    """What tracing requires of a model: the network, and a forward pass without edits."""

    net: nn.Module

    def choose_memory_format(self, pixels: Tensor) -> None:
        """Choose the memory format, before hooks or a tape record the network."""
        ...

    def forward_unedited(self, pixels: Tensor) -> Tensor:
        """Return the logits without any edits."""
        ...


@dataclass(frozen=True)
class Layer:
    """One module that ran; `shape` is that of its last output, without the batch axis."""

    name: str
    kind: str
    shape: tuple[int, ...]
    calls: int
    grid: Grid | None
    passive: bool

    @property
    def channels(self) -> int:
        """The number of units: channels of a map, features of a vector or token."""
        first = self.grid.layout == "channels-first" if self.grid else len(self.shape) != 2
        return (self.shape or (1,))[0 if first else -1]


@dataclass(frozen=True)
class LayerGraph:
    """All layers that ran, in the order in which they finished.

    `spatial` is the deepest layer with a spatial grid that the logits depend on, if any.
    """

    layers: dict[str, Layer]
    spatial: str | None

    def layer(self, name: str) -> Layer:
        """Return the layer of this name; raises Unknown with the closest names."""
        if name not in self.layers:
            raise Unknown("layer", name, self.layers, hint=LISTED)
        return self.layers[name]

    def call(self, address: Address) -> int:
        """Return the index of the call that the address names, by default the last."""
        calls = self.layer(address.layer).calls
        if address.call is not None and address.call >= calls:
            raise SeewhyError(f"{address}: {address.layer} runs {calls} times, counted from 0")
        return calls - 1 if address.call is None else address.call

    def index(self, address: Address) -> tuple:
        """Return the index that selects the addressed part of a raw activation."""
        layer = self.layer(address.layer)
        if address.channel is not None and address.channel >= layer.channels:
            raise SeewhyError(
                f"{address}: {layer.name} has {layer.channels} channels, counted from 0"
            )
        if layer.grid:
            return layer.grid.index(address)
        if address.position:
            raise SeewhyError(f"{address}: {layer.name} has no rows and columns")
        if address.channel is None:
            return (slice(None),)
        channels_first = len(layer.shape) != 2
        return (slice(None), address.channel) if channels_first else (..., address.channel)


def trace_layers(model: Traceable, pixels: Tensor) -> LayerGraph:
    """Run one picture through the network and describe every layer that ran."""
    net = model.net
    model.choose_memory_format(pixels)
    order: dict[str, tuple[tuple[int, ...], int]] = {}

    def record(name: str, tensor: Tensor, call: int) -> None:
        order.pop(name, None)  # ordered by the end of the last call
        order[name] = (tuple(tensor.shape), call + 1)

    names = [name for name, m in net.named_modules() if name and not compiled(m)]
    hooks = {name: lambda t, call, name=name: record(name, t, call) for name in names}
    with borrowed(net), torch.no_grad(), hooked(net, hooks):
        logits = model.forward_unedited(pixels)
    layers = _describe(net, order, (pixels.shape[-2], pixels.shape[-1]))
    layers = _located(model, pixels, layers)
    return LayerGraph(layers, _choose(model, pixels, layers, logits.shape[1]))


def compiled(module: nn.Module) -> bool:
    """Return whether the module runs TorchScript, whose inner operations cannot be recorded."""
    return isinstance(module, torch.jit.ScriptModule)


def _describe(
    net: nn.Module, order: dict[str, tuple[tuple[int, ...], int]], size: tuple[int, int]
) -> dict[str, Layer]:
    modules = dict(net.named_modules())
    maps: list[tuple[int, int]] = []
    layers = {}
    last = _channels_last([(modules[name], len(shape)) for name, (shape, _) in order.items()])
    for (name, (shape, calls)), channels_last in zip(order.items(), last, strict=True):
        whole = shape[:1] == (1,)  # otherwise windows or crops are folded into the batch
        grid = find_grid(shape[1:], size, maps, channels_last) if whole else None
        if grid and grid.layout != "tokens":
            maps.append((grid.height, grid.width))
        module = modules[name]
        passive = isinstance(module, _PASSIVE) or type(module).__name__ == "Permute"
        layers[name] = Layer(name, type(module).__name__, shape[1:], calls, grid, passive)
    return layers


def _located(model: Traceable, pixels: Tensor, layers: dict[str, Layer]) -> dict[str, Layer]:
    """Correct the grids that shapes do not settle; a forward pass for each size of such a grid."""
    size = (pixels.shape[-2], pixels.shape[-1])
    doubtful = {
        name: layer.grid
        for name, layer in layers.items()
        if layer.grid and is_ambiguous(layer.grid, layer.shape, size)
    }
    found: dict[str, tuple[Grid | None, bool]] = {}
    for cells in sorted({(grid.height, grid.width) for grid in doubtful.values()}):
        pictures = changed_pictures(pixels.shape[1], size, cells).to(pixels)
        names = [n for n, grid in doubtful.items() if (grid.height, grid.width) == cells]
        seen: list[dict[str, Tensor]] = [{} for _ in pictures]
        # One at a time: memory holds one, as it held the one that was traced.
        for picture, values in zip(pictures, seen, strict=True):
            hooks = {
                name: lambda t, call, name=name, values=values: values.update({name: t.detach()})
                for name in names
            }
            with borrowed(model.net), torch.no_grad(), hooked(model.net, hooks):
                model.forward_unedited(picture[None])
        for name in names:
            each = [values.get(name) for values in seen]
            if all(t is not None and t.shape == (1, *layers[name].shape) for t in each):
                activation = torch.cat([t for t in each if t is not None])
                found[name] = located(doubtful[name], activation)
    # Tokens keep their order from layer to layer, and only attention moves changes to others: so
    # what is clear in most layers with as many tokens holds for all of them.
    votes: dict[int, Counter[Grid | None]] = defaultdict(Counter)
    for name, (grid, is_clear) in found.items():
        if is_clear and doubtful[name].layout == "tokens":
            votes[layers[name].shape[0]][grid] += 1
    corrected = dict(layers)
    for name, (grid, _) in found.items():
        counted = votes.get(layers[name].shape[0])
        if doubtful[name].layout == "tokens" and counted:
            grid = counted.most_common(1)[0][0]
        corrected[name] = replace(layers[name], grid=grid)
    return corrected


def _channels_last(modules: Sequence[tuple[nn.Module, int]]) -> list[bool]:
    """Infer from the next module that runs whether each output has its channels last.

    Linear layers and plain layer norms work on the last axis of a map, convolutions on the axis
    after the batch. A subclass of LayerNorm may permute axes, so it is ignored.
    """
    results, channels_last = [], False
    for module, dimensions in reversed(modules):
        if dimensions == 4 and (isinstance(module, nn.Linear) or type(module) is nn.LayerNorm):
            channels_last = True
        elif isinstance(module, nn.Conv2d):
            channels_last = False
        results.append(channels_last)
    return results[::-1]


def _choose(model: Traceable, pixels: Tensor, layers: dict[str, Layer], classes: int) -> str | None:
    """Choose the deepest suitable layer that the logits depend on, by its gradient.

    A network may run layers that its logits do not read: after the last attention block only the
    class token is read, and a backbone may hand on its feature maps next to the pooled ones.
    """
    deepest_first = list(reversed(layers.values()))
    token_counts = {layer.shape[0] for layer in deepest_first if _is_tokens(layer)}
    candidates = [
        layer
        for i, layer in enumerate(deepest_first)
        if layer.grid
        and not layer.passive
        and not _is_class_map(layer, classes, deepest_first[:i])
        and not _is_attention(layer, token_counts)
        and not (_is_tokens(layer) and layer.kind == "Linear")  # a part of attention or MLP
    ]
    if any(layer.grid and layer.grid.prefix for layer in candidates):
        # The residual stream: other layers are parts of attention blocks or MLPs.
        candidates = [layer for layer in candidates if layer.channels == candidates[0].channels]
    return _first_with_gradient(model, pixels, candidates)


def _is_tokens(layer: Layer) -> bool:
    return layer.grid is not None and layer.grid.layout == "tokens"


def _is_class_map(layer: Layer, classes: int, later: Sequence[Layer]) -> bool:
    """Return whether a map has one channel per class and no linear layer after it."""
    if _is_tokens(layer):
        return False
    return layer.channels == classes and not any(other.kind == "Linear" for other in later)


def _is_attention(layer: Layer, token_counts: set[int]) -> bool:
    """Return whether the shape is [heads, tokens, tokens], which only looks like feature maps."""
    return len(layer.shape) == 3 and set(layer.shape[1:]) <= token_counts


def _first_with_gradient(model: Traceable, pixels: Tensor, layers: list[Layer]) -> str | None:
    """Return the first layer whose output the largest logit depends on.

    Returns the first of all if there is none, or no gradient: the method that needs it says why.
    """
    activations: dict[str, Tensor] = {}

    def keep(name: str, tensor: Tensor) -> Tensor | None:
        if not tensor.requires_grad:
            return None
        # Only what reads this copy reads the layer's output: what the layer itself derives from
        # its feature maps, such as a pooled vector that it returns next to them, does not count.
        activations[name] = tensor.clone()
        return activations[name]

    hooks = {layer.name: lambda t, call, name=layer.name: keep(name, t) for layer in layers}
    # A network that writes into what its own backward pass needs has no gradient without a tape.
    with suppress(RuntimeError), borrowed(model.net), hooked(model.net, hooks):
        score = model.forward_unedited(pixels.clone().requires_grad_()).max()
        for layer in layers:
            if layer.name not in activations or layer.grid is None or not score.requires_grad:
                continue
            # One by one: backward passes from the deepest layers are short.
            (gradient,) = torch.autograd.grad(
                score, activations[layer.name], retain_graph=True, materialize_grads=True
            )
            if bool(layer.grid.maps(gradient).any()):
                return layer.name
    return layers[0].name if layers else None
