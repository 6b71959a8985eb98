"""The layer that is found is the deepest with rows and columns that the decision depends on.

Every expected name was checked by hand against the source of the network.
"""

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, Body
from seewhy.errors import NotApplicable, SeewhyError, Unknown
from seewhy.models.addresses import Address

TORCHVISION = {
    "resnet18": ("layer4", "2x2"),
    "vgg11": ("features", "2x2"),
    "alexnet": ("features.11", "3x3"),  # its last pool leaves one cell at this size
    "squeezenet1_1": ("features", "3x3"),  # what follows are class maps: the answer itself
    "densenet121": ("features", "2x2"),
    "googlenet": ("inception5b", "2x2"),
    "mobilenet_v3_small": ("features", "2x2"),
    "efficientnet_b0": ("features", "2x2"),
    "shufflenet_v2_x0_5": ("conv5", "2x2"),
    "convnext_tiny": ("features", "2x2"),
    "swin_t": ("norm", "2x2"),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", "4x4 tokens after 1 prefix"),
}
TORCHVISION_ARGUMENTS = {
    "googlenet": {"init_weights": False},  # slow
    "vit_b_16": {"image_size": 64, "num_classes": 10},
    "vgg11": {"init_weights": False},
}
TIMM = {
    "resnet18": ("layer4", "2x2"),
    "convnext_tiny": ("stages", "2x2"),
    "densenet121": ("features", "2x2"),
    "mobilenetv3_small_100": ("blocks", "2x2"),  # its last convolution comes after the pooling
    "efficientnet_b0": ("bn2", "2x2"),
    "swin_tiny_patch4_window7_224": ("norm", "2x2"),
    "vit_small_patch16_224": ("blocks.11.norm1", "4x4 tokens after 1 prefix"),
    "deit_tiny_distilled_patch16_224": ("blocks.11.norm1", "4x4 tokens after 2 prefix"),
    "vit_small_patch14_reg4_dinov2": ("blocks.11.norm1", "4x4 tokens after 5 prefix"),
}
TIMM_ARGUMENTS = {
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 2},
    "vit_small_patch16_224": {"img_size": 64},
    "deit_tiny_distilled_patch16_224": {"img_size": 64},
    "vit_small_patch14_reg4_dinov2": {"img_size": 56, "num_classes": 10},
}


def assert_finds(net: nn.Module, expected: tuple[str, str], size: int = 64) -> None:
    model = seewhy.Model(net.eval())
    pixels = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = model.find_layer(pixels)
    assert (found, str(model.layer_graph(pixels).layer(found).grid)) == expected


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_layer_found_in_torchvisions_networks(name: str):
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = getattr(torchvision.models, name)(**TORCHVISION_ARGUMENTS.get(name, {}))
        if name == "vit_b_16":  # untrained, its head is zero
            nn.init.normal_(net.heads.head.weight)
    assert_finds(net, TORCHVISION[name])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:timm")
@pytest.mark.parametrize("name", TIMM)
def test_the_layer_found_in_timms_networks(name: str):
    timm = pytest.importorskip("timm")
    arguments = TIMM_ARGUMENTS.get(name, {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = timm.create_model(name, **arguments)
    assert_finds(net, TIMM[name], arguments.get("img_size", 64))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("in_place_relu", ("3", "20x20")),
        ("functional_relu", ("second", "12x12")),
        ("residual_in_place", ("relu", "12x12")),
        ("pools", ("5", "4x4")),
        ("hidden_layer", ("1", "11x11")),
        ("class_maps", ("1", "22x22")),
        ("odd_size", ("5", "4x6")),
        ("squeeze_and_excite", ("relu", "12x12")),
        ("vit", ("blocks.1.norm1", "4x4 tokens after 1 prefix")),
        ("vit_with_registers", ("blocks.1.norm1", "4x4 tokens after 3 prefix")),
        ("swin_like", ("norm", "6x6")),
        ("convnext_like", ("mlp", "6x6")),
    ],
)
def test_the_layer_found_in_small_networks(network: str, expected: tuple[str, str]):
    case = NETWORKS[network]
    model, pixels = case.model(), case.pixels(1)
    found = model.find_layer(pixels)
    assert (found, str(model.layer_graph(pixels).layer(found).grid)) == expected


@pytest.mark.parametrize("network", ["perceptron", "no_modules"])
def test_no_layer_keeps_rows_and_columns(network: str):
    case = NETWORKS[network]
    with pytest.raises(NotApplicable, match="rows and columns"):
        case.model().find_layer(case.pixels())


def test_the_decision_depends_on_what_is_found():
    """Later tokens of a transformer have maps too, and no gradient."""
    case = NETWORKS["vit"]
    model, pixels = case.model(), case.pixels()
    found = model.find_layer(pixels)
    names = list(model.layer_graph(pixels).layers)
    plain = model(pixels)

    def logits_without_patches(layer: str) -> Tensor:
        edits = {
            f"{layer}@{row},{column}": seewhy.ablate() for row in range(4) for column in range(4)
        }
        sized = seewhy.Model(model.net, mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3], size=24)
        with seewhy.edited(sized, edits):
            return sized(pixels)

    assert not torch.allclose(logits_without_patches(found), plain)
    for later in ("blocks.1.attn", "blocks.1.mlp", "blocks.1", "norm"):
        assert names.index(later) > names.index(found)
        torch.testing.assert_close(logits_without_patches(later), plain)


def test_layers_come_in_the_order_in_which_they_finish():
    model, pixels = seewhy.Model(Body()), torch.rand(1, 3, 16, 16)
    layers = model.layer_graph(pixels).layers
    assert list(layers) == ["first", "second", "relu", "fc"]
    assert [layer.calls for layer in layers.values()] == [1, 1, 2, 1]
    assert [layer.channels for layer in layers.values()] == [6, 8, 8, 5]
    assert layers["second"].shape == (8, 8, 8) and layers["second"].kind == "Conv2d"


def test_unknown_layers_name_the_nearest():
    layer_graph = seewhy.Model(Body()).layer_graph(torch.rand(1, 3, 16, 16))
    with pytest.raises(Unknown, match=r"unknown layer 'secnod'; did you mean second"):
        layer_graph.layer("secnod")
    with pytest.raises(Unknown, match="seewhy layers"):
        layer_graph.layer("zzzz")
    with pytest.raises(SeewhyError, match="runs 1 times"):
        layer_graph.call(Address("fc", call=1))


def test_looking_at_the_layers_leaves_no_trace(unchanged):
    case = NETWORKS["dropout"]
    net, pixels = case.build(), case.pixels(1)
    with unchanged(net):
        seewhy.Model(net).layer_graph(pixels)


class Both(nn.Module):
    """Maps of 8 x 8 with 8 channels: the shape fits both ways, what reads them tells."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 8, 2, 2), nn.Sequential(nn.Conv2d(8, 8, 1))
        self.norm, self.last = nn.LayerNorm(8), nn.Sequential(nn.Linear(8, 8), nn.GELU())
        self.after = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x)).permute(0, 2, 3, 1)
        x = self.norm(x)
        x = x + self.last(x)
        return self.head(self.after(x.permute(0, 3, 1, 2)).mean((2, 3)))


def test_shapes_that_fit_both_ways():
    layer_graph = seewhy.Model(Both(), size=16).layer_graph()
    layouts = {name: layer.grid.layout for name, layer in layer_graph.layers.items() if layer.grid}
    first, last = "channels-first", "channels-last"
    assert layouts["stem"] == layouts["first.0"] == layouts["after"] == first
    assert layouts["norm"] == layouts["last.0"] == last
