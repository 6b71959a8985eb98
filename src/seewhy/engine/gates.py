"""Layers at which a pull passes named channels only (concept-conditional relevance)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from seewhy.autodiff.operations import Linear, Operation
from seewhy.models.addresses import Address
from seewhy.models.layers import LayerGraph


@dataclass(frozen=True)
class Gate:
    """The output of a layer: where it is in the graph, and the operation that put it out.

    A pull through a gate ends there and begins again with the cotangents of the named channels, so
    that paths around the layer (residual connections, concatenations) count for nothing.
    """

    edge: GradientEdge
    shape: torch.Size
    made: Operation | None

    def restricted(
        self, cotangent: Tensor, channels: list[str | tuple[str, ...]], layer_graph: LayerGraph
    ) -> Tensor:
        """The cotangent of the named channels, and 0 elsewhere; a tuple names one a picture."""
        mask = torch.zeros(self.shape, dtype=cotangent.dtype, device=cotangent.device)
        for one in channels:
            _open(mask, one, layer_graph)
        restricted = cotangent * mask
        if isinstance(self.made, Linear):
            self.made.restrict(mask, cotangent, restricted)
        return restricted


def _open(mask: Tensor, channels: str | tuple[str, ...], layer_graph: LayerGraph) -> None:
    """Set the mask to 1 at the channel, or at each picture's own."""
    if isinstance(channels, str):
        mask[layer_graph.index(Address.parse(channels))] = 1
        return
    for picture, at in enumerate(channels):
        first, *rest = layer_graph.index(Address.parse(at))
        mask[picture][(first, *rest) if first is ... else tuple(rest)] = 1
