"""How recorded operations are connected, read from the autograd graph."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from seewhy.autodiff.operations import Linear, Operation

# Nodes that only change the memory layout or shape, not the values.
_VIEWS = (
    "View", "Expand", "Unsqueeze", "Squeeze", "Reshape", "UnsafeView", "Permute", "Transpose",
    "Clone", "Copy", "ToCopy", "Alias", "T", "Slice", "Unflatten",
)  # fmt: skip


class _Path(NamedTuple):
    """What is known of the paths to a node."""

    depth: int  # linear operations on the longest
    short: bool  # whether one leads from the pixels without a linear operation
    begun: bool  # whether one begins at the pixels, or where else the recorded graph begins


class DepthTracker:
    """Counts linear operations on the longest path from the pixels to a tensor."""

    def __init__(self, source: Tensor | None):
        self._source = source
        self._starts: list[Tensor] = [] if source is None else [source]
        self._known: dict[Any, _Path] = {}

    def depth(self, tensor: Tensor) -> int:
        """Return the number of linear operations on the longest path to the tensor."""
        return self._measured(tensor).depth

    def short(self, tensor: Tensor) -> bool:
        """Return whether some path from the pixels to the tensor has no linear operation."""
        return self._measured(tensor).short

    def begin(self, leaf: Tensor) -> None:
        """Let the recorded graph also begin at this leaf; called before it is used."""
        if not _is_in(leaf, self._starts):
            self._starts.append(leaf)

    def begun(self, tensor: Tensor) -> bool:
        """Return whether the tensor depends on the pixels or another leaf where the graph begins.

        True if no pixels are known. A tensor that a network keeps from an earlier forward has a
        graph too, but of parameters.
        """
        return self._source is None or self._measured(tensor).begun

    def clear(self) -> None:
        """Release the references to the autograd graph."""
        self._known.clear()
        del self._starts[1:]

    def _measured(self, tensor: Tensor) -> _Path:
        if tensor.grad_fn is None:
            return _Path(0, tensor is self._source, _is_in(tensor, self._starts))
        self._visit(tensor.grad_fn)
        return self._known[tensor.grad_fn]

    def _visit(self, node: Any) -> None:
        """Traverse depth first, without recursion: graphs are deeper than Python's stack."""
        stack = [node]
        while stack:
            node = stack[-1]
            operation = operation_of(node)
            if node in self._known:
                stack.pop()
            elif operation is not None:
                linear = isinstance(operation, Linear)
                self._known[node] = _Path(
                    operation.depth, operation.reads_picture and not linear, True
                )
            else:
                before = [n for n, _ in node.next_functions if n is not None]
                missing = [n for n in before if n not in self._known]
                stack.extend(missing)
                if not missing:
                    paths = [self._known[n] for n in before]
                    leaf = getattr(node, "variable", None)
                    self._known[node] = _Path(
                        max((path.depth for path in paths), default=0),
                        any(path.short for path in paths)
                        or (leaf is not None and leaf is self._source),
                        any(path.begun for path in paths) or _is_in(leaf, self._starts),
                    )


def _is_in(tensor: Tensor | None, tensors: Sequence[Tensor]) -> bool:
    """By identity: `==` compares values."""
    return tensor is not None and any(tensor is one for one in tensors)


def operation_of(node: Any) -> Operation | None:
    """Return the recorded operation that a node of the autograd graph represents, if any."""
    return getattr(node, "operation", None)


def maker(tensor: Tensor) -> Operation | None:
    """Return the recorded operation that produced the tensor, looking through views and copies."""
    return made_at(tensor.grad_fn)


def made_at(node: Any) -> Operation | None:
    """Return the recorded operation that produced the output of an autograd node (see `maker`)."""
    while node is not None and operation_of(node) is None:
        before = [n for n, _ in node.next_functions if n is not None]
        if len(before) != 1 or not node.name().removesuffix("Backward0").startswith(_VIEWS):
            return None
        node = before[0]
    return None if node is None else operation_of(node)


def linear_operations(output: Tensor) -> Iterator[Linear]:
    """Yield the linear operations that the output depends on without another one in between."""
    seen, stack = set(), [output.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        operation = operation_of(node)
        if isinstance(operation, Linear):
            yield operation
        else:
            stack.extend(n for n, _ in node.next_functions)
