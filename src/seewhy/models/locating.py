"""Finds out where the cells of a grid are by changing the picture, where shapes do not tell.

Which of a transformer's tokens are patches, and in which order, cannot be read off a shape: the
class token may come last, and patches may be kept window by window. The same holds for a map with
as many channels as rows. So small parts of a noise picture are changed, one at a time, and the
cells whose values change most are compared with where the changes were made.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.models.grids import Grid, fits

# Changed places as shares of height and width: different rows, different columns, no symmetry, and
# neither first nor last in a half or third, where windows leave cells in their place.
PLACES = ((0.29, 0.61), (0.46, 0.22), (0.71, 0.94))
STRONG = 0.25  # of the largest squared change: less may be an echo
FAINT = 0.05  # of it: a cell with less is not where the change was made
NEAR = 1  # cells by which the strongest change may be off: padding and strides move it
CLEAR = 0.6  # a cell's share of all its changes that leaves no doubt; one of three is 0.33


def changed_pictures(
    channels: int, size: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "pictures channels height width"]:
    """A noise picture, and copies of it of which each has one cell of `grid` changed."""
    generator = torch.Generator().manual_seed(0)
    noise, other = torch.rand(2, channels, *size, generator=generator)
    pictures = noise.repeat(1 + len(PLACES), 1, 1, 1)
    for number, (row, column) in enumerate(cells_of(grid), start=1):
        rows, columns = _span(row, grid[0], size[0]), _span(column, grid[1], size[1])
        pictures[number, :, rows, columns] = other[:, rows, columns]
    return pictures


def cells_of(grid: tuple[int, int]) -> list[tuple[int, int]]:
    """The row and column of the cell that is changed, for each place."""
    return [(int(y * grid[0]), int(x * grid[1])) for y, x in PLACES]


def located(grid: Grid, activation: Tensor) -> tuple[Grid | None, bool]:
    """The grid as the layer's activation of `changed_pictures` shows it, and whether it is clear.

    The grid is None where the cells are in another order than that of rows and columns. Where
    changes have spread so far that nothing can be told, it is returned as it is.
    """
    if grid.layout == "tokens":
        return _located_tokens(grid, activation)
    other = _other_layout(grid, activation.shape)
    here, there = (_share_at_cells(g, activation) for g in (grid, other))
    return (other if there > here else grid), max(here, there) > CLEAR


def is_ambiguous(grid: Grid, shape: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether the shape (without batch) does not settle what the grid is."""
    if grid.layout == "tokens":
        return True
    return fits(shape[1], shape[2], size) and fits(shape[0], shape[1], size)


def _located_tokens(grid: Grid, activation: Tensor) -> tuple[Grid | None, bool]:
    change = _changes(activation, (2,))
    # The class token may change most, but in all pictures alike.
    own = torch.where(_shares(change) > CLEAR, change, 0)
    clear = bool((own.amax(1) > STRONG * change.amax(1)).all())
    strongest = own.argmax(1).tolist()
    extra = change.shape[1] - grid.height * grid.width
    cells = cells_of((grid.height, grid.width))
    # The prefix of the guess first: of equally good ones it is kept.
    prefixes = sorted(range(extra + 1), key=lambda prefix: prefix != grid.prefix)
    candidates = [replace(grid, prefix=prefix) for prefix in prefixes]
    best = min(candidates, key=lambda g: sum(_distances(g, strongest)))
    if max(_distances(best, strongest)) <= NEAR:
        return best, clear
    # Spread over a neighbourhood, the strongest change may be a few cells away.
    here = torch.stack([_near(best, change[p], cell) for p, cell in enumerate(cells)])
    refuted = clear and bool((here < FAINT * change.amax(1)).any())
    return (None if refuted else grid), refuted


def _near(grid: Grid, change: Float[Tensor, " tokens"], cell: tuple[int, int]) -> Tensor:
    """The largest change within NEAR cells of a cell."""
    cells = change[grid.prefix :][: grid.height * grid.width].view(grid.height, grid.width)
    rows, columns = (slice(max(0, i - NEAR), i + NEAR + 1) for i in cell)
    return cells[rows, columns].amax()


def _distances(grid: Grid, tokens: Sequence[int]) -> list[int]:
    """How many cells away from the changed cells these tokens are on the grid."""
    cells = cells_of((grid.height, grid.width))
    found = [divmod(token - grid.prefix, grid.width) for token in tokens]
    return [
        max(abs(row - r), abs(column - c))
        for (row, column), (r, c) in zip(cells, found, strict=True)
    ]


def _other_layout(grid: Grid, shape: Sequence[int]) -> Grid:
    first, second, third = shape[1:]
    if grid.layout == "channels-last":
        return Grid("channels-first", second, third)
    return Grid("channels-last", first, second)


def _share_at_cells(grid: Grid, activation: Tensor) -> float:
    """How much of the changes at the changed cells is due to the change made there, on average."""
    shares = _shares(_changes(grid.maps(activation), (1,)))  # [places, rows, columns]
    cells = cells_of((grid.height, grid.width))
    found = [float(shares[place, row, column]) for place, (row, column) in enumerate(cells)]
    return sum(found) / len(found)


def _changes(activation: Tensor, over: tuple[int, ...]) -> Tensor:
    """How much each cell changes in each picture, squared: [places, cells...]."""
    return (activation[1:] - activation[:1]).float().square().sum(over)


def _shares(change: Tensor) -> Tensor:
    """Of each cell's changes in all pictures, the share in each."""
    return change / change.sum(0).clamp_min(1e-30)


def _span(index: int, count: int, side: int) -> slice:
    """The pixels of one cell of a row or column that is cut into `count` cells."""
    return slice(index * side // count, max(index * side // count + 1, (index + 1) * side // count))
