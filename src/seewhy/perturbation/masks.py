"""What a method of masks says: which masks there are. How they are scored is `masked`'s affair."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Masks(ABC):
    """Masks over pictures: 1 keeps the picture, 0 shows what stands in for it.

    The n-th mask depends on n (and a seed) alone, never on how many are made together.

    - `count`: masks for each picture.
    """

    count: int

    @abstractmethod
    def of(self, numbers: range) -> Float[Tensor, "pictures masks channels height width"]:
        """Those masks; the first dimension is 1 where all pictures have the same ones.

        Of one channel, or of as many as the pictures have.
        """

    def windows(self, numbers: range) -> Int[Tensor, "masks 4"] | None:
        """Top, left, height and width of what each mask hides whole, if that is all it does."""
        return None


class Windows(Masks):
    """Each mask hides one rectangle, the same for all pictures.

    - `boxes`: top, left, height, width of each. - `size`: of the picture.
    """

    def __init__(self, boxes: Int[Tensor, "masks 4"], size: tuple[int, int]):
        self.count = len(boxes)
        self.boxes, self.size = boxes, size

    def of(self, numbers: range) -> Float[Tensor, "1 masks 1 height width"]:
        """Zero inside the rectangle, one outside."""
        top, left, height, width = (b[:, None] for b in self.windows(numbers).T)
        rows, columns = (torch.arange(side, device=self.boxes.device) for side in self.size)
        inside_rows = (rows >= top) & (rows < top + height)
        inside_columns = (columns >= left) & (columns < left + width)
        return 1.0 - (inside_rows[:, :, None] & inside_columns[:, None, :])[None, :, None].float()

    def windows(self, numbers: range) -> Int[Tensor, "masks 4"]:
        """The rectangles."""
        return self.boxes[numbers.start : numbers.stop]
