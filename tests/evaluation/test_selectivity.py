"""Channel selectivity: the choice of channels and methods, and the similarity of maps."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, Body, as_model
from seewhy.attribution.methods.grad_cam import GradCAM
from seewhy.errors import NotApplicable, SeewhyError, Unknown
from seewhy.evaluation.selectivity import ChannelSelectivity, Similarity, layer_before, ranked
from seewhy.evaluation.selectivity_view import data, figure
from seewhy.evaluation.similarity import rank_correlation, top_overlap
from seewhy.models.addresses import Address

REAL = os.environ.get("SEEWHY_REAL")
CASE = NETWORKS["batch_norm"]


@pytest.fixture(scope="module")
def comparison() -> ChannelSelectivity:
    methods = ["gradient", "deconvnet", "grad-cam", "cam"]
    return seewhy.channel_selectivity(CASE.model(), CASE.pixels(), methods, "3")


def test_the_channels_are_the_most_active_another_and_the_least(comparison: ChannelSelectivity):
    maps = seewhy.capture(CASE.model(), CASE.pixels(), ["3"])["3"]
    peaks = maps.amax((2, 3))
    for picture, (best, other, least) in enumerate(comparison.channels.tolist()):
        assert peaks[picture].argmax() == best and peaks[picture].argmin() == least
        assert other not in (best, least)
        for rank, channel in enumerate((best, other, least)):
            assert comparison.activations[picture, rank] == peaks[picture, channel]
            assert torch.equal(comparison.maps[picture, rank], maps[picture, channel])


def test_each_map_is_that_of_its_channel(comparison: ChannelSelectivity):
    assert [finding.method for finding in comparison] == ["gradient", "deconvnet", "grad-cam"]
    for rank in range(3):
        target = [f"3:{channel}" for channel in comparison.channels[:, rank].tolist()]
        alone = seewhy.explain(CASE.model(), CASE.pixels(), "gradient", target)
        found = comparison["gradient"].explanations[rank]
        torch.testing.assert_close(found.heatmap, alone.heatmap)
        assert found.target_names == target


def test_similarity_is_that_of_the_maps(comparison: ChannelSelectivity):
    for finding in comparison:
        for picture in range(3):
            best, *others = (e.heatmap[picture] for e in finding.explanations)
            for column, other in enumerate(others):
                alike = finding.similarity
                expected = rank_correlation(best, other), top_overlap(best, other)
                found = alike.correlation[picture, column], alike.overlap[picture, column]
                torch.testing.assert_close(torch.stack(found), torch.tensor(expected))
    mean = comparison["gradient"].similarity.correlation.mean()
    assert comparison["gradient"].similarity.mean() == pytest.approx(float(mean))


@pytest.mark.parametrize("by", ["max", "mean"])
def test_ranked(by: str):
    maps = torch.tensor([[[[0.0, 9.0]], [[5.0, 5.0]], [[1.0, 1.0]], [[-1.0, 2.0]], [[0.5, 0.5]]]])
    channels, activations = ranked(maps, by, seed=0)
    best, other, least = channels[0].tolist()
    expected = {"max": (0, 9.0, 4, 0.5), "mean": (1, 5.0, 3, 0.5)}[by]
    assert (best, activations[0, 0], least, activations[0, 2]) == expected
    assert other not in (best, least)


def test_the_random_channel_depends_on_the_seed_and_the_number_alone():
    maps = torch.rand(6, 40, 2, 2, generator=torch.Generator().manual_seed(0))
    channels, _ = ranked(maps, "max", seed=3)
    assert torch.equal(channels[2:], ranked(maps[2:], "max", seed=3, first=2)[0])
    assert not torch.equal(channels[:, 1], ranked(maps, "max", seed=4)[0][:, 1])
    assert len(set(channels[:, 1].tolist())) > 2
    whole = seewhy.channel_selectivity(CASE.model(), CASE.pixels(), "gradient", "3")
    parts = seewhy.channel_selectivity(CASE.model(), CASE.pixels(), "gradient", "3", batch_size=2)
    assert torch.equal(whole.channels, parts.channels)


def test_of_equal_channels_the_first_counts():
    channels, _ = ranked(torch.zeros(2, 5, 3, 3), "max", seed=0)
    assert channels[:, 0].tolist() == channels[:, 2].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("network", "place", "expected"),
    [
        ("batch_norm", "5", "2"),  # 3 and 4 keep channels separate
        ("batch_norm", "3", "2"),
        ("depthwise", "5", "4"),
        ("residual", "norm", "relu"),
        ("concatenation", "second", "norm"),
        ("swin_like", "blocks.1", "blocks.0"),
        ("vit", "blocks.1", "blocks.0"),
        ("squeeze_and_excite", "second", "first"),
    ],
)
def test_the_layer_before_is_on_every_path(network: str, place: str, expected: str):
    case = NETWORKS[network]
    assert layer_before(case.model(), case.pixels(1), Address.parse(place)) == expected


def test_a_shortcut_goes_past_a_layer():
    class Shortcut(Body):
        def features(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.second(x + self.relu(x))

    model = seewhy.Model(Shortcut())
    pixels = torch.rand(1, 3, 16, 16)
    assert layer_before(model, pixels, Address.parse("second")) == "first"
    with pytest.raises(NotApplicable, match="no layer with rows and columns lies before first"):
        layer_before(model, pixels, Address.parse("first"))


def test_a_layer_of_which_each_channel_leads_to_one_does_not_count():
    case = NETWORKS["depthwise"]
    with pytest.raises(NotApplicable, match="lies before 2 on every path"):
        layer_before(case.model(), case.pixels(1), Address.parse("2"))


def test_methods_that_read_a_layer_read_one_before(comparison: ChannelSelectivity):
    assert comparison["grad-cam"].explanations[0].provenance.layer == "2"
    assert dict(comparison.skipped)["cam"].startswith("CAM decomposes a logit")
    with pytest.raises(NotApplicable, match="CAM decomposes"):
        comparison["cam"]
    with pytest.raises(Unknown, match="did you mean gradient"):
        comparison["gradiant"]


@pytest.mark.parametrize("layer", ["3", "5", "3#0"])
def test_methods_that_read_the_same_layer_or_a_deeper_one_are_left_out(layer: str):
    methods = [GradCAM(layer=layer), "gradient"]
    found = seewhy.channel_selectivity(CASE.model(), CASE.pixels(), methods, "3")
    assert [finding.method for finding in found] == ["gradient"]
    ((name, reason),) = found.skipped
    assert name == "grad-cam" and f"reads {layer}, which does not come before 3" in reason


def test_only_methods_that_cannot_be_asked(tmp_path: Path):
    found = seewhy.channel_selectivity(CASE.model(), CASE.pixels(), "cam", "3")
    assert len(found) == 0 and [name for name, _ in found.skipped] == ["cam"]
    assert "left out cam" in found.summary()
    found.save(tmp_path / "empty.png")


def silent() -> nn.Module:
    """A network with four channels, two of which are always zero."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    nn.init.constant_(net[0].bias, 1.0)
    nn.init.constant_(net[0].weight[2:].detach(), 0.0)
    nn.init.constant_(net[0].bias[2:].detach(), -1.0)
    return net


def test_channels_that_are_silent(tmp_path: Path):
    pixels = torch.rand(2, 3, 12, 12)
    found = seewhy.channel_selectivity(silent(), pixels, ["gradient", "deconvnet"], "1")
    assert (found.activations[:, 2] == 0).all()
    assert found["gradient"].similarity.correlation[:, 1].isnan().all()
    assert found["gradient"].similarity.overlap[:, 1].isnan().all()
    drawn = figure(found)
    said = "\n".join(text.get_text() for axes in drawn.axes for text in axes.texts)
    assert "the channel is inactive here" in said and "a map is empty" in said
    data = json.loads(found.save(tmp_path / "c.json").read_text())
    assert data["methods"][0]["rank_correlation"]["least active"] == [None, None]
    nothing = Similarity(torch.full((2, 2), torch.nan), torch.full((2, 2), torch.nan))
    assert math.isnan(nothing.mean())


def test_what_nothing_can_be_said_about_is_said(comparison: ChannelSelectivity):
    import dataclasses

    nothing = Similarity(torch.full((3, 2), torch.nan), torch.full((3, 2), torch.nan))
    empty = dataclasses.replace(comparison.findings[0], similarity=nothing)
    assert empty.verdict == "nothing to compare: the maps of the other channels are empty"
    all_empty = dataclasses.replace(comparison, findings=(empty,), similarity=nothing)
    assert "nothing to compare: the other channels are inactive" in all_empty.summary()


@pytest.mark.parametrize(
    ("correlation", "words"),
    [
        (0.9, "not specific to the channel: rank correlation 0.90"),
        (0.5, "partly specific to the channel: rank correlation 0.50"),
        (-0.25, "specific to the channel: rank correlation −0.25"),
    ],
)
def test_verdicts(comparison: ChannelSelectivity, correlation: float, words: str):
    import dataclasses

    alike = Similarity(torch.full((3, 2), correlation), torch.zeros(3, 2))
    assert dataclasses.replace(comparison.findings[0], similarity=alike).verdict == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layer": "7"}, "unknown layer '7'"),
        ({"layer": "6.2"}, "rows, columns and at least 3 channels"),
        ({"layer": "3:1"}, "write 3, not 3:1"),
        ({"layer": "3#1"}, "runs 1 times"),
        ({"by": "median"}, "unknown way to order channels"),
        ({"methods": "gradeint"}, "did you mean gradient"),
        ({"seed": -1}, "the seed must be"),
    ],
    ids=str,
)
def test_mistakes_end_in_one_line(arguments: dict, words: str):
    with pytest.raises(SeewhyError, match=words) as caught:
        seewhy.channel_selectivity(CASE.model(), CASE.pixels(), **arguments)
    assert "\n" not in str(caught.value)


def test_a_layer_is_found(unchanged: Callable):
    net = CASE.build()
    with unchanged(net):
        found = seewhy.channel_selectivity(as_model(net), CASE.pixels(), ["gradient", "grad-cam"])
    assert found.layer == "5" and found["grad-cam"].explanations[0].provenance.layer == "2"


def test_the_figure_names_everything(comparison: ChannelSelectivity, tmp_path: Path):
    drawn = figure(comparison)
    said = "\n".join(t.get_text() for axes in drawn.axes for t in axes.texts)
    said += "\n".join(t.get_text() for t in drawn.texts)
    for rank, channel in zip(
        ("most active", "random", "least active"), comparison.channels[0].tolist(), strict=True
    ):
        assert f"{rank}: channel {channel}" in said
    for part in ("gradient", "deconvnet", "grad-cam", "reads 2", "rank correlation", "skipped cam"):
        assert part in said
    images = [axes for axes in drawn.axes if axes.images and axes.get_position().height > 0.02]
    assert len(images) == 3 * (1 + 3 + 3 * 3), "three pictures, each with four rows of maps"
    comparison.save(tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as image:
        assert image.format == "PNG"
    with pytest.raises(SeewhyError, match=r"ends in \.png, \.jpg"):
        comparison.save(tmp_path / "c.gif")


def test_of_many_pictures_the_figure_shows_a_few():
    pixels = torch.rand(6, 3, 24, 24)
    found = seewhy.channel_selectivity(CASE.model(), pixels, "gradient", "3")
    drawn = figure(found)
    assert "The first 4 of 6 pictures" in "\n".join(t.get_text() for t in drawn.texts)
    assert len(data(found)["pictures"]) == 6


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="SEEWHY_REAL names no folder of real models and photos")
def test_deconvnet_and_guided_backprop_are_less_specific_on_photographs():
    """As in Mahendran and Vedaldi 2016; on 20 photographs, in a deep layer of SqueezeNet."""
    folder = Path(str(REAL))
    weights = folder / "models" / "squeezenet1_1_imagenet_fp16.safetensors"
    model = seewhy.open_model("torchvision/squeezenet1_1", str(weights))
    photos = sorted((folder / "images" / "imagenet").glob("*.jpg"))[::25]
    methods = ["gradient", "guided-backprop", "deconvnet", "grad-cam"]
    found = seewhy.channel_selectivity(model, photos, methods, "features.11")
    alike = {finding.method: finding.similarity.mean() for finding in found}
    assert alike["grad-cam"] < alike["gradient"] - 0.1
    assert alike["gradient"] < alike["guided-backprop"] - 0.1
    assert alike["guided-backprop"] < alike["deconvnet"] - 0.1
    assert found["deconvnet"].verdict.startswith("not specific")
    assert found["grad-cam"].verdict.startswith("specific")
