"""Which cells of a map an edit reaches, along one axis."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Span:
    """Where the tiles of a batch lie along one axis: `size` cells from each of `starts`.

    They all have one size and lie within the `length` cells of the map.
    """

    starts: Int[np.ndarray, "copies"]
    size: int
    length: int

    @staticmethod
    def covering(
        first: Int[np.ndarray, "copies"], end: Int[np.ndarray, "copies"], length: int
    ) -> "Span":
        """The shortest spans that cover the cells from `first` up to `end`, where there are any.

        To be wider than needed is harmless: the cells around an edit are recomputed as they were.
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
        """As many spans that cover the axis."""
        return Span(np.zeros_like(self.starts), self.length, self.length)

    @cached_property
    def key(self) -> tuple[bytes, int, int]:
        """What is equal for equal spans."""
        return self.starts.tobytes(), self.size, self.length

    def within(self, before: int, after: int) -> "Span":
        """The same cells, on an axis that goes on at both ends."""
        return Span(self.starts + before, self.size, before + self.length + after)

    def union(self, other: "Span") -> "Span":
        """The spans that cover those of both."""
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
        """The outputs, of `outputs` in all, that read a cell of the span."""
        first = -((self.size - 1 - self.before - span.starts) // self.stride)
        end = (span.end - 1 + self.before) // self.stride + 1
        return Span.covering(first, end, outputs)

    def read(self, outputs: Span, padded: int) -> Span:
        """The cells that the outputs read, of an axis with its padding and `padded` cells long."""
        return Span(outputs.starts * self.stride, self.extent(outputs.size), padded)

    def extent(self, outputs: int) -> int:
        """How many cells neighbouring outputs read between them."""
        return (outputs - 1) * self.stride + self.size
