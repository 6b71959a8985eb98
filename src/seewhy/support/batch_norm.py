"""Work around a bug in the backward pass of torch's batch normalisation on a CPU.

Up to at least torch 2.14, the backward pass takes a batch of one to be contiguous and channels-last
at the same time. If the memory layouts of the cotangent and the input differ, elements are swapped
and the gradient is wrong, without an error. This affects single pictures whose feature map is later
converted to tokens (`flatten(2).transpose(1, 2)`), and instance normalisation, which torch computes
as the batch normalisation of one picture. The cotangent is therefore copied to the input's layout.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

_BATCH_NORM = "NativeBatchNormBackward0"


def keep_layout(output: Tensor) -> Tensor:
    """Make batch normalisations in the output's graph copy cotangents to their input's layout.

    Returns the output itself.
    """
    if output.device.type == "cpu" and output.grad_fn is not None:
        for node in _nodes(output.grad_fn):
            if node.name() == _BATCH_NORM:
                _keep_layout_at(node)
    return output


def _nodes(last: Node) -> list[Node]:
    """Return all nodes of the autograd graph that ends in `last`."""
    nodes, seen = [last], {last}
    for node in nodes:  # the list grows during the loop
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
    metadata[_BATCH_NORM] = True  # a graph can be visited twice, for logits and for units
    # The hook must not refer to the node or its input, which would form a reference cycle.
    like = torch.empty_like(given, device="meta")

    def laid_out(cotangents: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *others = cotangents
        if first.stride() == like.stride():
            return cotangents
        copy = torch.empty_strided(like.shape, like.stride(), dtype=first.dtype)
        return copy.copy_(first), *others

    node.register_prehook(laid_out)
