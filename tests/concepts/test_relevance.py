"""Concept relevance propagation: ranks and conditional maps against separate explanations."""

import json

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import NETWORKS
from seewhy.attribution.methods.lrp import LRPEpsilonPlus
from seewhy.errors import SeewhyError, Unknown


class Chain(nn.Module):
    """All paths lead through `middle`, so its channels receive all relevance."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.middle = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.last = nn.Linear(6, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.last(torch.relu(self.middle(x)).mean((2, 3)))


@pytest.fixture
def model() -> seewhy.Model:
    torch.manual_seed(3)
    return seewhy.Model(Chain().double().eval(), mean=[0.4] * 3, std=[0.2] * 3)


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_ranks_are_those_of_the_relevance_at_the_layer(model: seewhy.Model, pixels: Tensor):
    found = seewhy.relevant_channels(model, pixels, "middle", count=3)
    at_layer = seewhy.explain(model, pixels, "lrp-epsilon-plus", layer="middle")
    relevance = at_layer.attribution.sum((2, 3))
    torch.testing.assert_close(found.relevance, relevance)
    assert torch.equal(found.channels, relevance.topk(3).indices)
    assert found.maps.shape == (5, 3, 12, 12)
    assert [len(row) for row in found.top(2)] == [2] * 5


@pytest.mark.parametrize("layer", ["middle", "norm", "first"])
def test_maps_are_those_through_the_channel_alone(model: seewhy.Model, pixels: Tensor, layer: str):
    found = seewhy.relevant_channels(model, pixels, layer, target=2, count=2, batch_size=2)
    for picture in range(5):
        for rank in range(2):
            through = found.address(int(found.channels[picture, rank]))
            method = LRPEpsilonPlus(through=through)
            one = seewhy.explain(model, pixels[picture], method, 2)
            torch.testing.assert_close(found.maps[picture, rank], one.heatmap[0])
            assert bool(one.heatmap.any())


def test_channels_add_up_to_the_whole(model: seewhy.Model, pixels: Tensor):
    found = seewhy.relevant_channels(model, pixels, "middle", count=6)
    torch.testing.assert_close(found.maps.sum(1), found.explanation.heatmap)


def test_the_network_is_run_once_for_all_channels(model: seewhy.Model, pixels: Tensor):
    model.choose_memory_format(pixels)
    model.layer_graph(pixels)
    calls = []
    handle = model.net.register_forward_hook(lambda *_: calls.append(1))
    seewhy.relevant_channels(model, pixels, "middle", count=4)
    handle.remove()
    assert len(calls) == 2  # the map through all channels, and the maps through single channels


def test_files_and_words(model: seewhy.Model, pixels: Tensor, tmp_path):
    found = seewhy.relevant_channels(model, pixels[:2], "middle", count=2)
    assert found.save(tmp_path / "c.png").stat().st_size > 10_000
    written = json.loads(found.save(tmp_path / "c.json").read_text())
    assert [p["channels"][0]["address"] for p in written["pictures"]] == [
        row[0][0] for row in found.top()
    ]
    with pytest.raises(SeewhyError, match=r"\.png, \.jpg"):
        found.save(tmp_path / "c.gif")


def test_refusals(model: seewhy.Model, pixels: Tensor):
    with pytest.raises(SeewhyError, match="LRP method"):
        seewhy.relevant_channels(model, pixels, "middle", method="grad-cam")
    with pytest.raises(Unknown, match="middle"):
        seewhy.relevant_channels(model, pixels, "midle")
    with pytest.raises(SeewhyError, match="at least one channel"):
        seewhy.relevant_channels(model, pixels, "middle", count=0)
    with pytest.raises(SeewhyError, match="one target"):
        seewhy.relevant_channels(model, pixels, "middle", seewhy.each(0, 1))
    with pytest.raises(SeewhyError, match="must name channels"):
        seewhy.explain(model, pixels, "lrp-epsilon", through="middle")
    with pytest.raises(SeewhyError, match="6 channels"):
        seewhy.explain(model, pixels, "lrp-epsilon", through="middle:6")


@pytest.mark.parametrize("network", ["vit", "residual", "swin_like", "reused_relu"])
def test_runs_where_channels_are_laid_out_otherwise(network: str):
    if network not in NETWORKS:
        pytest.fail(f"there is no {network}")
    case = NETWORKS[network]
    found = seewhy.relevant_channels(case.model(), case.pixels(), count=2)
    assert bool(found.maps.isfinite().all()) and bool(found.maps.any())


@pytest.mark.parametrize("most", [1, 2])
def test_memory_that_runs_out_is_survived(model: seewhy.Model, pixels: Tensor, most: int):
    def short(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    expected = seewhy.relevant_channels(model, pixels, "middle", count=3)
    expected_activity = seewhy.channel_selectivity(model, pixels, ["gradient"], layer="middle")
    handle = model.net.register_forward_pre_hook(short)
    found = seewhy.relevant_channels(model, pixels, "middle", count=3)
    selective = seewhy.channel_selectivity(model, pixels, ["gradient"], layer="middle")
    handle.remove()
    torch.testing.assert_close(found.relevance, expected.relevance)
    torch.testing.assert_close(found.maps, expected.maps)
    assert torch.equal(found.channels, expected.channels)
    assert torch.equal(selective.channels, expected_activity.channels)


def test_no_memory_for_one_picture_is_said_in_a_line(model: seewhy.Model, pixels: Tensor):
    def full(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.layer_graph(pixels)
    handle = model.net.register_forward_pre_hook(full)
    with pytest.raises(SeewhyError, match="one picture of 12x12; use smaller"):
        seewhy.relevant_channels(model, pixels, "middle")
    handle.remove()
