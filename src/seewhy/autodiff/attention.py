"""Find the attention matrices of a forward pass among its softmaxes, and their layout.

Attention is softmax(scores) @ values: a softmax whose output is, unchanged, a factor of a matrix
product. A softmax over classes, over space or of gates is not attention, because no matrix product
reads it.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor

from seewhy.autodiff.graph import made_at, operation_of
from seewhy.autodiff.operations import Operation
from seewhy.autodiff.operations.products import MATRIX_PRODUCTS
from seewhy.autodiff.tape import Logged
from seewhy.errors import NotApplicable

_PLAIN_PRODUCTS = ("MmBackward", "BmmBackward", "BaddbmmBackward")  # products that are not recorded


def attentions(score: Tensor, softmaxes: Sequence[Logged]) -> list[Logged]:
    """Return the softmaxes that are attention and that the score depends on, in forward order.

    Raises NotApplicable if the attention is modified before it is used, or if the attention layers
    do not form a sequence.
    """
    nodes = list(_ancestors(score.grad_fn))
    reached = set(nodes)
    multiplied = {
        made_at(before)
        for node in nodes
        if _is_matrix_product(node)
        for before, _ in node.next_functions
    }
    candidates = [
        (operation, edge)
        for operation, edge in softmaxes
        if edge.node in reached and operation.y.ndim > 2
    ]
    attention = [logged for logged in candidates if logged[0] in multiplied]
    others = [operation for operation, _ in candidates if operation not in multiplied]
    if attention and any(_is_square(operation) for operation in others):
        raise NotApplicable(
            "some of its attention is modified after the softmax (mixed heads, gates), so the "
            "matrix that multiplies the values is not available"
        )
    for (_, earlier), (_, later) in pairwise(attention):
        if earlier.node not in _ancestors(later.node):
            raise NotApplicable(
                "its attention layers do not form a sequence: they run in parallel, or "
                "separately for each picture"
            )
    return attention


def per_picture(
    values: Tensor, operation: Operation, pictures: int
) -> Float[Tensor, "pictures heads queries keys"]:
    """Return an attention matrix, or its gradient, in the standard layout, as float32.

    Heads may be folded into the batch, and the matrix may be transposed. Raises NotApplicable if
    the batch axis holds parts of pictures, such as windows.
    """
    if operation.arguments["dim"] % values.ndim == values.ndim - 2:
        values = values.transpose(-1, -2)
    if values.ndim == 3 and len(values) % pictures == 0:
        values = values.unflatten(0, (pictures, -1))
    if values.ndim != 4 or len(values) != pictures:
        raise NotApplicable(
            f"its attention has the shape {tuple(values.shape)} for {pictures} pictures: it works "
            "on windows or other parts of a picture separately"
        )
    return values.float()


def _ancestors(node: Any) -> Iterator[Any]:
    """Yield the nodes of the autograd graph that this node depends on, starting with itself."""
    seen, stack = set(), [node]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        stack.extend(before for before, _ in node.next_functions)


def _is_square(softmax: Operation) -> bool:
    return softmax.y.shape[-2] == softmax.y.shape[-1]


def _is_matrix_product(node: Any) -> bool:
    operation = operation_of(node)
    if operation is None:
        return node.name().startswith(_PLAIN_PRODUCTS)
    return operation.function.pure in MATRIX_PRODUCTS
