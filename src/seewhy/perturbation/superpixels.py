"""Superpixels: connected segments of similar colour and of about equal size.

SLIC: k-means over colour and position, where a pixel can only join the segments that started in its
own or an adjacent grid cell. Radhakrishna Achanta et al.: SLIC superpixels compared to
state-of-the-art superpixel methods, IEEE TPAMI 2012. The segments of a picture do not depend on the
others in the batch: each picture is segmented by itself, in float64.
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
    """Return the segment index of each pixel, from 0 without gaps, on the CPU.

    - `pixels`: in [0, 1]. - `segments`: their approximate number. - `compactness`: the colour
    difference, in CIELAB units, that counts as much as the width of a segment.
    """
    return torch.stack(
        [_slic(picture, segments, compactness) for picture in pixels.detach().cpu().double()]
    )


class OnOff(Masks):
    """Each mask shows some segments of a picture and hides the others.

    - `labels`: the segment of each pixel. - `vectors`: for each picture, the segments that each of
    its masks shows; the number of masks may differ. - `needed`: the number of masks per picture.
    """

    def __init__(
        self,
        labels: Int[Tensor, "pictures height width"],
        vectors: Sequence[Bool[Tensor, "_ _"]],
        device: torch.device,
    ):
        self.needed = torch.tensor([len(vector) for vector in vectors])
        self.count = int(self.needed.max())
        segments = int(labels.max()) + 1
        padded = [F.pad(v, (0, segments - v.shape[1], 0, self.count - len(v))) for v in vectors]
        self._vectors = torch.stack(padded).float().to(device)
        self._labels = labels.to(device)

    def of(self, numbers: range) -> Float[Tensor, "pictures masks 1 height width"]:
        """Return masks of one where the segment of the pixel is shown, else zero."""
        shown = self._vectors[:, numbers.start : numbers.stop]
        labels = self._labels.flatten(1)[:, None].expand(-1, len(numbers), -1)
        masks = shown.gather(2, labels).unflatten(2, self._labels.shape[1:])
        return masks[:, :, None]


def _slic(
    picture: Float[Tensor, "channels height width"], segments: int, compactness: float
) -> Int[Tensor, "height width"]:
    height, width = picture.shape[1:]
    rows = min(height, max(1, round((segments * height / width) ** 0.5)))
    columns = min(width, max(1, round(segments / rows)))
    side = (height * width / (rows * columns)) ** 0.5
    y, x = (g.flatten() for g in torch.meshgrid(*map(torch.arange, (height, width)), indexing="ij"))
    colour = _lab(picture).flatten(1) / compactness
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
    """Return the mean of each segment's pixels; infinity for an empty one, so none joins it."""
    sizes = torch.bincount(labels, minlength=count)
    sums = torch.stack([torch.bincount(labels, feature, minlength=count) for feature in points])
    return torch.where(sizes > 0, sums / sizes.clamp_min(1), torch.inf)


def _in_one_piece(labels: Int[Tensor, "height width"]) -> Int[Tensor, "height width"]:
    """Keep the largest piece of each segment; the other pixels join adjacent segments."""
    pieces = _pieces(labels)
    segment, piece = labels.flatten(), pieces.flatten()
    # Pieces are ranked by size, then by their first pixel.
    rank = torch.bincount(piece, minlength=len(piece))[piece] * len(piece) - piece
    best = torch.full_like(segment, -1).scatter_reduce(0, segment, rank, "amax")
    kept = torch.where(rank == best[segment], segment, -1).view_as(labels)
    while bool((kept < 0).any()):
        grown = kept
        for neighbour in _neighbours(kept, -1):
            grown = torch.where(grown < 0, neighbour, grown)
        kept = grown
    return torch.unique(kept, return_inverse=True)[1]


def _pieces(labels: Int[Tensor, "height width"]) -> Int[Tensor, "height width"]:
    """Return for each pixel the index of the first pixel of its connected piece."""
    first = torch.arange(labels.numel()).view_as(labels)
    while True:
        before = first
        for other, label in zip(_neighbours(first, 0), _neighbours(labels, -1), strict=True):
            first = torch.where(label == labels, torch.minimum(first, other), first)
        first = first.flatten()[first]  # pointer jumping
        if torch.equal(first, before):
            return first


def _neighbours(values: Int[Tensor, "height width"], outside: int) -> Iterator[Tensor]:
    """Yield the values above, below, left and right of each pixel; `outside` off the picture."""
    padded = F.pad(values, (1, 1, 1, 1), value=outside)
    height, width = values.shape
    for y, x in ((0, 1), (2, 1), (1, 0), (1, 2)):
        yield padded[y : y + height, x : x + width]


def _lab(picture: Float[Tensor, "channels height width"]) -> Tensor:
    """Return the picture in CIELAB (perceptually uniform); if it is not RGB, scaled to 0 to 100."""
    if len(picture) != 3:
        return 100 * picture
    picture = picture.clamp(0, 1)
    linear = torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("dc,chw->dhw", picture.new_tensor(_XYZ), linear)
    ratio = xyz / picture.new_tensor(_WHITE)[:, None, None]
    cut = 6 / 29
    x, y, z = torch.where(ratio > cut**3, ratio ** (1 / 3), ratio / (3 * cut**2) + 4 / 29)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
