import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address
from seewhy.models.grids import Grid, find_grid

SQUARE = (224, 224)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((512, 7, 7), SQUARE, Grid("channels-first", 7, 7)),
        ((64, 112, 112), SQUARE, Grid("channels-first", 112, 112)),
        ((8, 3, 4), (33, 47), Grid("channels-first", 3, 4)),
        ((1, 224, 224), SQUARE, Grid("channels-first", 224, 224)),
        ((7, 7, 768), SQUARE, Grid("channels-last", 7, 7)),
        ((14, 28, 96), (224, 448), Grid("channels-last", 14, 28)),
        ((49, 768), SQUARE, Grid("tokens", 7, 7)),
        ((197, 384), SQUARE, Grid("tokens", 14, 14, 1)),
        ((198, 192), SQUARE, Grid("tokens", 14, 14, 2)),
        ((261, 384), SQUARE, Grid("tokens", 16, 16, 5)),
        ((5, 768), (32, 32), Grid("tokens", 2, 2, 1)),
        ((129, 64), (128, 256), Grid("tokens", 8, 16, 1)),
        ((1000,), SQUARE, None),
        ((512, 1, 1), SQUARE, None),
        ((1, 768), SQUARE, None),
        ((12, 64, 12), SQUARE, None),
    ],
)
def test_found_from_the_shape(shape: tuple, size: tuple, expected: Grid | None):
    assert find_grid(shape, size) == expected


def test_a_map_seen_before_settles_how_tokens_lie():
    assert find_grid((13, 8), (96, 96), known=[(3, 4)]) == Grid("tokens", 3, 4, 1)
    assert find_grid((13, 8), (96, 96)) == Grid("tokens", 3, 3, 4)


@given(
    height=st.integers(2, 20),
    width=st.integers(2, 20),
    prefix=st.integers(0, 3),
    channels=st.integers(1, 4),
)
def test_every_layout_is_the_same_maps(height: int, width: int, prefix: int, channels: int):
    maps = torch.rand(2, channels, height, width)
    last = maps.permute(0, 2, 3, 1)
    tokens = torch.cat([torch.rand(2, prefix, channels), last.flatten(1, 2)], 1)
    first = Grid("channels-first", height, width)
    for grid, activation in (
        (first, maps),
        (Grid("channels-last", height, width), last),
        (Grid("tokens", height, width, prefix), tokens),
    ):
        assert torch.equal(grid.maps(activation), maps)
        for text in ("a", f"a:{channels - 1}", f"a:0@{height - 1},1", f"a@1,{width - 1}"):
            address = Address.parse(text)
            if grid.layout == "tokens" and not address.position:
                continue  # the prefix belongs to a unit, and not to the maps
            found = activation[grid.index(address)].flatten().sort().values
            assert torch.equal(found, maps[first.index(address)].flatten().sort().values)


@pytest.mark.parametrize("layout", ["channels-first", "channels-last", "tokens"])
@pytest.mark.parametrize("position", ["3,0", "0,5"])
def test_outside_the_grid(layout: str, position: str):
    with pytest.raises(SeewhyError, match="3 rows and 5 columns, counted from 0"):
        Grid(layout, 3, 5).index(Address.parse(f"a@{position}"))


def test_written_form():
    assert str(Grid("channels-last", 7, 7)) == "7x7"
    assert str(Grid("tokens", 14, 14, 1)) == "14x14 tokens after 1 prefix"
