"""Keeps torch's batch normalisation right on a CPU.

Up to torch 2.14 at least, its backward takes a batch of one for contiguous and channels-last at the
same time: where the cotangent lies in memory otherwise than the input, elements are exchanged and
the gradient is wrong, without an error. That happens to a single picture whose map is turned into
tokens later (`flatten(2).transpose(1, 2)`), and to instance normalisation, which torch computes as
the batch normalisation of one picture. The cotangent is therefore copied into the input's layout.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

_BATCH_NORM = "NativeBatchNormBackward0"


def keep_layout(output: Tensor) -> Tensor:
    """The output; batch normalisations in its graph get cotangents that lie as their inputs do."""
    if output.device.type == "cpu" and output.grad_fn is not None:
        for node in _nodes(output.grad_fn):
            if node.name() == _BATCH_NORM:
                _keep_layout_at(node)
    return output


def _nodes(last: Node) -> list[Node]:
    """The nodes of an autograd graph."""
    nodes, seen = [last], {last}
    for node in nodes:  # grows on the way
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                nodes.append(before)
    return nodes


def _keep_layout_at(node: Node) -> None:
    given: Tensor = node._saved_input  # type: ignore[attr-defined]
    metadata: Any = node.metadata
    if len(given) != 1 or _BATCH_NORM in metadata:
        return
    metadata[_BATCH_NORM] = True  # a graph can be walked twice, for logits and for units
    # Without the node or its input, which would hold the graph in a circle.
    like = torch.empty_like(given, device="meta")

    def laid_out(cotangents: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *others = cotangents
        if first.stride() == like.stride():
            return cotangents
        copy = torch.empty_strided(like.shape, like.stride(), dtype=first.dtype)
        return copy.copy_(first), *others

    node.register_prehook(laid_out)
