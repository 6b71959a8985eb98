"""Random transforms of pictures, so that a visualisation does not depend on single pixels.

    transforms = Robust(jitter=8, scale=0.1, rotation=10)
    views = transforms(pictures, draws)

All of them together are one resampling of the picture, with numbers that are drawn for each picture
and step from a seed of the picture's own.

Olah et al. 2017, doi 10.23915/distill.00007 (jitter, scale, rotation); Fel et al. 2023,
arXiv 2306.06805 (crops and noise).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError

GREY = 0.5  # what lies outside the picture


@dataclass(frozen=True)
class Transforms:
    """Ranges of the random transforms; with the defaults nothing is changed.

    - `jitter`: the largest shift, in pixels. - `scale`: the largest relative change of size.
    - `rotation`: the largest angle, in degrees. - `crops`: random crops per picture and step, each
    resized to the whole input; 0 for none. - `smallest`, `largest`: the side of a crop, as a
    fraction of the picture's. - `noise`: the standard deviation of noise added to each pixel.

    Raises SeewhyError for negative or invalid values.
    """

    jitter: int = 0
    scale: float = 0.0
    rotation: float = 0.0
    crops: int = 0
    smallest: float = 0.1
    largest: float = 0.6
    noise: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"jitter": self.jitter, "rotation": self.rotation, "noise": self.noise}
        for name, value in ranges.items():
            if not (math.isfinite(value) and value >= 0):
                raise SeewhyError(f"{name} must be 0 or more, not {value}")
        if not 0 <= self.scale < 1:
            raise SeewhyError(f"scale must be from 0 to below 1, not {self.scale}")
        if not 0 < self.smallest <= self.largest <= 1:
            raise SeewhyError(
                "crops must have sides with 0 < smallest <= largest <= 1, not "
                f"{self.smallest} and {self.largest}"
            )
        if not (isinstance(self.crops, int) and self.crops >= 0):
            raise SeewhyError(f"crops must be a whole number, at least 0, not {self.crops}")

    @property
    def views(self) -> int:
        """The number of views of a picture in one step."""
        return max(1, self.crops)

    @property
    def changes_nothing(self) -> bool:
        """Whether the views are the pictures themselves."""
        return not (self.jitter or self.scale or self.rotation or self.crops or self.noise)

    def __call__(
        self,
        pictures: Float[Tensor, "rows c h w"],
        generators: Sequence[torch.Generator],
        size: tuple[int, int] | None = None,
    ) -> Float[Tensor, "views_of_rows c H W"]:
        """Return `views` views of each picture, view by view, at `size`; differentiable.

        The numbers of a row come from its generator.
        """
        size = size or (pictures.shape[2], pictures.shape[3])
        if self.changes_nothing and size == tuple(pictures.shape[2:]):
            return pictures
        matrices = torch.stack([self._matrices(g, pictures) for g in generators], 1)
        grid = F.affine_grid(
            matrices.flatten(0, 1).to(pictures), [matrices.shape[0] * len(pictures), 1, *size],
            align_corners=False,
        )  # fmt: skip
        # Grey outside: zero padding of the difference from grey.
        seen = F.grid_sample(
            pictures.repeat(self.views, 1, 1, 1) - GREY, grid, align_corners=False
        ) + GREY  # fmt: skip
        if not self.noise:
            return seen
        shape = (self.views, *seen.shape[1:])
        noise = torch.stack([torch.randn(shape, generator=g) for g in generators], 1)
        return seen + self.noise * noise.flatten(0, 1).to(seen)

    def _matrices(self, generator: torch.Generator, pictures: Tensor) -> Float[Tensor, "views 2 3"]:
        """Return where each view of one picture looks: from its coordinates to the picture's."""
        height, width = pictures.shape[2:]
        numbers = torch.rand(self.views, 5, generator=generator)
        signed = 2 * numbers - 1
        side = 1 / (1 + self.scale * signed[:, 0])
        free = torch.zeros(self.views)
        if self.crops:
            # Normal around the middle of the range, as published, within the range.
            middle, spread = (self.smallest + self.largest) / 2, (self.largest - self.smallest) / 4
            drawn = torch.randn(self.views, generator=generator)
            crop = (middle + spread * drawn).clamp(self.smallest, self.largest)
            side, free = side * crop, 1 - crop
        angle = math.radians(self.rotation) * signed[:, 1]
        cos, sin = side * angle.cos(), side * angle.sin()
        right = signed[:, 2] * free + 2 * (signed[:, 3] * self.jitter).round() / width
        down = (2 * numbers[:, 4] - 1) * free
        if self.jitter:
            shift = torch.rand(self.views, generator=generator) * 2 - 1
            down = down + 2 * (shift * self.jitter).round() / height
        ratio = height / width
        top = torch.stack([cos, -sin * ratio, right], 1)
        return torch.stack([top, torch.stack([sin / ratio, cos, down], 1)], 1)


NONE = Transforms()
# Jitter twice, scale and rotation as in lucid.
ROBUST = Transforms(jitter=12, scale=0.1, rotation=10)
CROPS = Transforms(crops=4, smallest=0.15, largest=0.6, noise=0.04)
# For classes, so that other networks see them too: the shapes must be larger and clearer.
STRONG = Transforms(jitter=24, scale=0.25, rotation=15, noise=0.05)
SETS = {"none": NONE, "robust": ROBUST, "strong": STRONG, "crops": CROPS}
# Used to judge pictures: other shifts and sizes than those of the optimisation, and noise.
UNSEEN = Transforms(jitter=16, scale=0.2, rotation=15, noise=0.02)
