"""The cells of a map that an edit affects, along one axis."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Span:
    """The positions of a batch's tiles along one axis: `size` cells from each of `starts`.

    All tiles have the same size and lie within the `length` cells of the map.
    """

    starts: Int[np.ndarray, "copies"]
    size: int
    length: int

    @staticmethod
    def covering(
        first: Int[np.ndarray, "copies"], end: Int[np.ndarray, "copies"], length: int
    ) -> "Span":
        """Return the shortest spans that cover the cells from `first` up to, excluding, `end`.

        Wider spans are harmless: recomputing the cells around an edit does not change them.
        """
        first, end = np.maximum(first, 0), np.minimum(end, length)
        size = max(1, int((end - first).max()))
        return Span(np.minimum(first, length - size), size, length)

    @property
    def end(self) -> Int[np.ndarray, "copies"]:
        """The first cell after each tile."""
        return self.starts + self.size

    @property
    def all(self) -> "Span":
        """The same number of spans, each covering the whole axis."""
        return Span(np.zeros_like(self.starts), self.length, self.length)

    @cached_property
    def key(self) -> tuple[bytes, int, int]:
        """A key that is equal for equal spans."""
        return self.starts.tobytes(), self.size, self.length

    def within(self, before: int, after: int) -> "Span":
        """Return the same cells on an axis that is extended at both ends."""
        return Span(self.starts + before, self.size, before + self.length + after)

    def union(self, other: "Span") -> "Span":
        """Return the shortest spans that cover both."""
        if self.key == other.key:
            return self
        return Span.covering(
            np.minimum(self.starts, other.starts), np.maximum(self.end, other.end), self.length
        )


@dataclass(frozen=True)
class Window:
    """A window that slides along an axis: output i reads `size` cells from i * stride - before."""

    size: int
    stride: int
    before: int

    def reached(self, span: Span, outputs: int) -> Span:
        """Return the outputs, out of `outputs` in all, that read a cell of the span."""
        first = -((self.size - 1 - self.before - span.starts) // self.stride)
        end = (span.end - 1 + self.before) // self.stride + 1
        return Span.covering(first, end, outputs)

    def read(self, outputs: Span, padded: int) -> Span:
        """Return the cells that the outputs read, on a padded axis of `padded` cells."""
        return Span(outputs.starts * self.stride, self.extent(outputs.size), padded)

    def extent(self, outputs: int) -> int:
        """Return the number of cells that so many adjacent outputs read."""
        return (outputs - 1) * self.stride + self.size
