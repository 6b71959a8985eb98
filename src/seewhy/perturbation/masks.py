"""The masks of a method. How masked pictures are scored is decided in `perturbation.scoring`."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Masks(ABC):
    """Masks over pictures: 1 shows the picture, 0 shows its replacement.

    The n-th mask depends only on n (and a seed), never on how many masks are made together.

    - `count`: the number of masks for each picture.
    """

    count: int

    @abstractmethod
    def of(self, numbers: range) -> Float[Tensor, "pictures masks channels height width"]:
        """Return the masks of these numbers; the first axis has length 1 if pictures share masks.

        Masks have one channel, or as many as the pictures.
        """

    def windows(self, numbers: range) -> Int[Tensor, "masks 4"] | None:
        """Return the top, left, height and width that each mask hides; None: not rectangles."""
        return None


class Windows(Masks):
    """Each mask hides one rectangle, the same for all pictures.

    - `boxes`: top, left, height, width of each rectangle. - `size`: of the picture.
    """

    def __init__(self, boxes: Int[Tensor, "masks 4"], size: tuple[int, int]):
        self.count = len(boxes)
        self.boxes, self.size = boxes, size

    def of(self, numbers: range) -> Float[Tensor, "1 masks 1 height width"]:
        """Return masks of zero inside the rectangle and one outside."""
        top, left, height, width = (b[:, None] for b in self.windows(numbers).T)
        rows, columns = (torch.arange(side, device=self.boxes.device) for side in self.size)
        inside_rows = (rows >= top) & (rows < top + height)
        inside_columns = (columns >= left) & (columns < left + width)
        return 1.0 - (inside_rows[:, :, None] & inside_columns[:, None, :])[None, :, None].float()

    def windows(self, numbers: range) -> Int[Tensor, "masks 4"]:
        """Return the rectangles."""
        return self.boxes[numbers.start : numbers.stop]
