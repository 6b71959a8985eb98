"""Superpixels: segments of like colour, about equal in size, each in one piece.

SLIC: k-means over colour and position, where a pixel may only go to the segments whose first cells
lie around its own. Radhakrishna Achanta et al.: SLIC superpixels compared to state-of-the-art
superpixel methods, IEEE TPAMI 2012. A picture has the same segments whatever pictures are beside
it, so each is cut by itself, in float64.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seewhy.perturbation.masks import Masks

ITERATIONS = 10

_WHITE = (0.95047, 1.0, 1.08883)  # D65
_XYZ = ((0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041))  # fmt: skip


def superpixels(
    pixels: Float[Tensor, "batch channels height width"], segments: int, compactness: float = 10.0
) -> Int[Tensor, "batch height width"]:
    """The number of the segment that each pixel is in, from 0, without gaps; on the CPU.

    - `pixels`: in [0, 1]. - `segments`: about how many. - `compactness`: the difference of colour,
    in units of CIELAB, that counts as much as the width of a segment.
    """
    return torch.stack(
        [_slic(one, segments, compactness) for one in pixels.detach().cpu().double()]
    )


class OnOff(Masks):
    """Each mask shows some segments of a picture and hides the others.

    - `labels`: the segment of each pixel. - `vectors`: of each picture, the segments that each of
    its masks shows; pictures may have more or fewer. - `needed`: masks of each picture.
    """

    def __init__(
        self,
        labels: Int[Tensor, "pictures height width"],
        vectors: Sequence[Bool[Tensor, "_ _"]],
        device: torch.device,
    ):
        self.needed = torch.tensor([len(one) for one in vectors])
        self.count = int(self.needed.max())
        most = int(labels.max()) + 1
        padded = [F.pad(one, (0, most - one.shape[1], 0, self.count - len(one))) for one in vectors]
        self._vectors = torch.stack(padded).float().to(device)
        self._labels = labels.to(device)

    def of(self, numbers: range) -> Float[Tensor, "pictures masks 1 height width"]:
        """One where the pixel's segment is shown."""
        shown = self._vectors[:, numbers.start : numbers.stop]
        places = self._labels.flatten(1)[:, None].expand(-1, len(numbers), -1)
        masks = shown.gather(2, places).unflatten(2, self._labels.shape[1:])
        return masks[:, :, None]


def _slic(
    picture: Float[Tensor, "channels height width"], segments: int, compactness: float
) -> Int[Tensor, "height width"]:
    height, width = picture.shape[1:]
    rows = min(height, max(1, round((segments * height / width) ** 0.5)))
    columns = min(width, max(1, round(segments / rows)))
    side = (height * width / (rows * columns)) ** 0.5
    y, x = (g.flatten() for g in torch.meshgrid(*map(torch.arange, (height, width)), indexing="ij"))
    colour = _perceived(picture).flatten(1) / compactness
    points = torch.cat([colour, torch.stack([y, x]) / side])
    cell_row, cell_column = y * rows // height, x * columns // width
    near = torch.stack([
        (cell_row + i).clamp(0, rows - 1) * columns + (cell_column + j).clamp(0, columns - 1)
        for i in (0, -1, 1) for j in (0, -1, 1)
    ])  # fmt: skip
    labels = near[0]
    for _ in range(ITERATIONS):
        centres = _means(points, labels, rows * columns)
        distance = ((points[:, None] - centres[:, near]) ** 2).sum(0)
        labels = near.gather(0, distance.argmin(0)[None])[0]
    return _in_one_piece(labels.view(height, width))


def _means(points: Tensor, labels: Tensor, count: int) -> Float[Tensor, "features segments"]:
    """The mean of each segment's pixels; nothing is near a segment without any."""
    sizes = torch.bincount(labels, minlength=count)
    sums = torch.stack([torch.bincount(labels, one, minlength=count) for one in points])
    return torch.where(sizes > 0, sums / sizes.clamp_min(1), torch.inf)


def _in_one_piece(labels: Int[Tensor, "height width"]) -> Int[Tensor, "height width"]:
    """The largest piece of each segment, and what is left goes to segments beside it."""
    pieces = _pieces(labels)
    own, piece = labels.flatten(), pieces.flatten()
    # The size of each pixel's piece; of equal ones the first counts.
    rank = torch.bincount(piece, minlength=len(piece))[piece] * len(piece) - piece
    best = torch.full_like(own, -1).scatter_reduce(0, own, rank, "amax")
    kept = torch.where(rank == best[own], own, -1).view_as(labels)
    while bool((kept < 0).any()):
        grown = kept
        for beside in _beside(kept, -1):
            grown = torch.where(grown < 0, beside, grown)
        kept = grown
    return torch.unique(kept, return_inverse=True)[1]


def _pieces(labels: Int[Tensor, "height width"]) -> Int[Tensor, "height width"]:
    """For each pixel the number of the first pixel of its connected piece."""
    first = torch.arange(labels.numel()).view_as(labels)
    while True:
        before = first
        for other, label in zip(_beside(first, 0), _beside(labels, -1), strict=True):
            first = torch.where(label == labels, torch.minimum(first, other), first)
        first = first.flatten()[first]  # jump: what that pixel has found out
        if torch.equal(first, before):
            return first


def _beside(values: Int[Tensor, "height width"], outside: int) -> Iterator[Tensor]:
    """What lies above, below, left and right of each pixel."""
    padded = F.pad(values, (1, 1, 1, 1), value=outside)
    height, width = values.shape
    for y, x in ((0, 1), (2, 1), (1, 0), (1, 2)):
        yield padded[y : y + height, x : x + width]


def _perceived(picture: Float[Tensor, "channels height width"]) -> Tensor:
    """In CIELAB, where equal distances look equally far apart; what is not RGB, from 0 to 100."""
    if len(picture) != 3:
        return 100 * picture
    picture = picture.clamp(0, 1)
    linear = torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("dc,chw->dhw", picture.new_tensor(_XYZ), linear)
    ratio = xyz / picture.new_tensor(_WHITE)[:, None, None]
    cut = 6 / 29
    x, y, z = torch.where(ratio > cut**3, ratio ** (1 / 3), ratio / (3 * cut**2) + 4 / 29)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
