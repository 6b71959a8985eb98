"""Which token is which patch is found out by changing the picture, and not assumed."""

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import SeewhyError
from seewhy.models.locating import PLACES, cells_of

SIDE, CELL, DIM = 6, 8, 32
ORDERS = {
    "raster": torch.arange(SIDE * SIDE),
    "windows": torch.arange(SIDE * SIDE).view(2, 3, 2, 3).permute(0, 2, 1, 3).flatten(),
    "columns": torch.arange(SIDE * SIDE).view(SIDE, SIDE).T.flatten(),
    "reversed": torch.arange(SIDE * SIDE).flip(0),
}


class Tokens(nn.Module):
    """A small transformer; the same function of the picture whatever the order of its tokens."""

    def __init__(self, extra: int = 1, last: bool = False, order: str = "raster"):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed = nn.Conv2d(3, DIM, CELL, CELL)
            self.extra = nn.Parameter(torch.randn(1, extra, DIM))
            self.position = nn.Parameter(torch.randn(1, SIDE * SIDE, DIM))
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(DIM, 4, 64, 0.0, batch_first=True, norm_first=True)
                for _ in range(3)
            )
            self.head = nn.Linear(DIM, 5)
        self.last, self.order = last, ORDERS[order]

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position
        tokens = tokens[:, self.order]
        extra = self.extra.expand(len(x), -1, -1)
        tokens = torch.cat([tokens, extra] if self.last else [extra, tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        count = SIDE * SIDE
        return self.head(tokens[:, count if self.last else 0])


PIXELS = torch.rand(2, 3, SIDE * CELL, SIDE * CELL, generator=torch.Generator().manual_seed(1))
LAYER = "blocks.1"


def explained(net: nn.Module, method: str) -> Tensor:
    options = {"layer": LAYER, "relu": False} if method == "grad-cam" else {}
    return seewhy.explain(net.eval(), PIXELS, method, 1, **options).heatmap


@pytest.mark.parametrize("extra", [1, 5])
@pytest.mark.parametrize("method", ["grad-cam", "gradient-rollout"])
def test_extra_tokens_may_come_last(extra: int, method: str):
    first, last = (explained(Tokens(extra, last), method) for last in (False, True))
    torch.testing.assert_close(last, first, rtol=1e-3, atol=1e-4 * float(first.abs().max()))


@pytest.mark.parametrize("order", ["windows", "columns", "reversed"])
@pytest.mark.parametrize("method", ["grad-cam", "gradient-rollout"])
def test_another_order_is_refused(order: str, method: str):
    with pytest.raises(SeewhyError, match=r"no rows and columns|not patches in rows"):
        explained(Tokens(order=order), method)


@pytest.mark.parametrize("last", [False, True])
def test_addresses_mean_the_patch(last: bool):
    """What an address of a cell gives changes with the picture there, and with no other cell."""
    model = seewhy.Model(Tokens(last=last).eval())
    row, column = 2, 4
    changed = PIXELS.clone()
    changed[:, :, row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 0
    place = [f"blocks.0:3@{row},{column}", "blocks.0:3@4,1"]
    before, after = (seewhy.capture(model, p, place) for p in (PIXELS, changed))
    moved = [float((before[at] - after[at]).abs().mean()) for at in place]
    assert moved[0] > 5 * moved[1]


class Square(nn.Module):
    """Maps with as many channels as rows and columns, channels first or last."""

    def __init__(self, last: bool):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 8, 2, 2)
            self.mixer = nn.Linear(8, 8)
        self.last, self.inner, self.head = last, nn.Identity(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.inner(x.permute(0, 2, 3, 1) * 2) if self.last else self.inner(x * 2)
        return self.head(x.mean((1, 2)) if self.last else x.mean((2, 3)))


@pytest.mark.parametrize("last", [False, True])
def test_as_many_channels_as_rows(last: bool):
    net = Square(last).eval()
    grid = seewhy.Model(net).layer_graph(torch.rand(1, 3, 16, 16)).layers["inner"].grid
    assert grid is not None and grid.layout == ("channels-last" if last else "channels-first")


def test_no_order_in_use_leaves_the_changed_cells_in_their_place():
    """Of windows, columns or a reversed order on usual grids; at most one cell may stay."""
    for side in (6, 7, 8, 12, 14, 16, 24, 28):
        raster = [row * side + column for row, column in cells_of((side, side))]
        assert len(set(raster)) == len(PLACES)
        numbers = torch.arange(side * side).view(side, side)
        others = [numbers.T, numbers.flip(0, 1), numbers.flip(1), numbers.flip(0)]
        for window in (2, 3, 4, 6, 7, 8):
            if side % window == 0 and window < side:
                folded = numbers.view(side // window, window, side // window, window)
                others.append(folded.permute(0, 2, 1, 3))
        for order in others:
            assert sum(int(order.flatten()[i]) == i for i in raster) < len(raster) - 1
