"""The attention matrices of a forward: which of its softmaxes they are, and how they lie.

Attention is softmax(scores) values: a softmax whose result, as it is, is a factor of a matrix
product. A softmax over classes, over space or of gates is none, because no such product reads it.
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

_PLAIN_PRODUCTS = ("MmBackward", "BmmBackward", "BaddbmmBackward")  # those that nobody watched


def attentions(score: Tensor, softmaxes: Sequence[Logged]) -> list[Logged]:
    """Those of the softmaxes that are attention and that the score depends on, first to last.

    Raises NotApplicable where attention cannot be told apart from what is done to it, and where
    one does not follow on the other.
    """
    nodes = list(_ways_to(score.grad_fn))
    reached = set(nodes)
    multiplied = {
        made_at(before)
        for node in nodes
        if _is_matrix_product(node)
        for before, _ in node.next_functions
    }
    asked = [one for one in softmaxes if one[1].node in reached and one[0].y.ndim > 2]
    found = [one for one in asked if one[0] in multiplied]
    others = [operation for operation, _ in asked if operation not in multiplied]
    if found and any(_is_square(operation) for operation in others):
        raise NotApplicable(
            "some of its attention is changed after the softmax (heads mixed, gates), and what "
            "values are multiplied with cannot be seen"
        )
    for (_, earlier), (_, later) in pairwise(found):
        if earlier.node not in _ways_to(later.node):
            raise NotApplicable(
                "its attention layers do not follow one on another: they run side by side, or "
                "each picture has its own"
            )
    return found


def per_picture(
    values: Tensor, operation: Operation, pictures: int
) -> Float[Tensor, "pictures heads queries keys"]:
    """An attention matrix, or its gradient, with one row for each query.

    Heads may be folded into the batch, and keys may lie in rows. Raises NotApplicable where the
    batch holds parts of pictures.
    """
    if operation.arguments["dim"] % values.ndim == values.ndim - 2:
        values = values.transpose(-1, -2)
    if values.ndim == 3 and len(values) % pictures == 0:
        values = values.unflatten(0, (pictures, -1))
    if values.ndim != 4 or len(values) != pictures:
        raise NotApplicable(
            f"its attention lies as {tuple(values.shape)} for {pictures} pictures: it sees "
            "windows or other parts of a picture one by one"
        )
    return values.float()


def _ways_to(node: Any) -> Iterator[Any]:
    """The nodes of the autograd graph that this one depends on, itself first."""
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
