"""Restrict a backward pass to some channels of a layer (concept-conditional relevance)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from seewhy.autodiff.operations import Linear, Operation
from seewhy.models.addresses import Address
from seewhy.models.layers import LayerGraph


@dataclass(frozen=True)
class Gate:
    """The output of a layer: its edge in the autograd graph, and the operation that computed it.

    A backward pass through a gate ends there and restarts from the cotangents of some channels, so
    that paths around the layer (residual connections, concatenations) do not contribute.
    """

    edge: GradientEdge
    shape: torch.Size
    made: Operation | None

    def restricted(
        self, cotangent: Tensor, channels: list[str | tuple[str, ...]], layer_graph: LayerGraph
    ) -> Tensor:
        """Return the cotangent at the channels, and 0 elsewhere; a tuple has one per picture."""
        mask = torch.zeros(self.shape, dtype=cotangent.dtype, device=cotangent.device)
        for channel in channels:
            _open(mask, channel, layer_graph)
        restricted = cotangent * mask
        if isinstance(self.made, Linear):
            self.made.restrict(mask, cotangent, restricted)
        return restricted


def _open(mask: Tensor, channel: str | tuple[str, ...], layer_graph: LayerGraph) -> None:
    """Set the mask to 1 at the channel, or at the channel of each picture."""
    if isinstance(channel, str):
        mask[layer_graph.index(Address.parse(channel))] = 1
        return
    for picture, at in enumerate(channel):
        first, *rest = layer_graph.index(Address.parse(at))
        mask[picture][(first, *rest) if first is ... else tuple(rest)] = 1
