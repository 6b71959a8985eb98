"""Ablation-CAM against a float64 loop over channels, and against pytorch-grad-cam."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, Body, as_model, normed
from seewhy.attribution.methods.ablation_cam import Ablations
from seewhy.engine.recording import Request, recorded
from seewhy.models.addresses import Address
from seewhy.support.settings import Settings


def slowly(model: seewhy.Model, layer: str, pixels: Tensor, target: int) -> Tensor:
    """Return one picture's weights, from one forward pass of the edited network per channel."""
    score = model(pixels[None])[0, target].detach()
    weights = []
    for channel in range(model.layer_graph(pixels[None]).layer(layer).channels):
        with seewhy.edited(model, {f"{layer}:{channel}": seewhy.ablate()}):
            without = model(pixels[None])[0, target].detach()
        weights.append((score - without) / score.abs())
    return torch.stack(weights)


PLACES = [
    ("batch_norm", "5"),
    ("batch_norm", "1"),  # not rectified
    ("residual_in_place", "second"),  # also read by the skip connection
    ("residual_in_place", "block"),  # next to a skip connection that holds one picture
    ("concatenation", "second"),  # next to a concatenation that holds one picture
    ("hidden_layer", "1"),
    ("odd_size", "5"),
    ("swin_like", "blocks.0"),
    ("convnext_like", "mlp"),
    ("vit", "blocks.0"),
    ("returns_dict", "second"),
]


@pytest.mark.parametrize(("network", "layer"), PLACES)
def test_weights_are_shares_of_the_score(network: str, layer: str):
    case = NETWORKS[network]
    net, pixels = case.build().double(), case.pixels().double()
    model = as_model(net)
    e = seewhy.explain(model, pixels, "ablation-cam", [0, 4, 2], layer=layer, relu=False)
    for i, target in enumerate([0, 4, 2]):
        weights = slowly(model, layer, pixels[i], target)
        found = ratio(e.attribution[i].double(), model, layer, pixels[i])
        used = ~found.isnan()
        torch.testing.assert_close(found[used], weights[used], rtol=1e-3, atol=1e-6)
        assert int(used.sum()) >= len(used) / 2


def ratio(values: Tensor, model: seewhy.Model, layer: str, pixels: Tensor) -> Tensor:
    """Return the weights in values = weight * map; NaN if the map is zero."""
    raw = seewhy.capture(model, pixels[None], [layer])[layer]
    grid = model.layer_graph(pixels[None]).layer(layer).grid
    assert grid is not None
    maps = grid.maps(raw)[0]
    return (values * maps).sum((1, 2)) / (maps * maps).sum((1, 2))


def way(model: seewhy.Model, pixels: Tensor, layer: str) -> bool:
    """Return whether only the part of the network after the layer is run again."""
    requests = [Request(layer, rules=None)]
    with recorded(model, pixels, requests, 0, Settings()) as recording:
        return Ablations(recording, Address.parse(layer)).short


class Remembering(Body):
    """A network whose output after the layer depends on the number of input pictures."""

    def forward(self, x: Tensor) -> Tensor:
        return self.decide(self.features(x)) * len(x)


@pytest.mark.parametrize(
    ("net", "layer", "short"),
    [
        (NETWORKS["batch_norm"].build, "2", True),
        (NETWORKS["residual_in_place"].build, "block", True),
        (NETWORKS["vit"].build, "blocks.0", True),
        (NETWORKS["concatenation"].build, "second", False),
    ],
)
def test_the_short_way_is_gone_where_it_is_the_same(net: Callable, layer: str, short: bool):
    pixels = NETWORKS["batch_norm"].pixels()
    assert way(as_model(net().eval()), pixels, layer) == short


def test_a_network_that_counts_its_pictures_is_explained_one_by_one():
    net, pixels = Remembering().eval(), NETWORKS["batch_norm"].pixels()
    e = seewhy.explain(as_model(net), pixels, "ablation-cam", 1)
    assert any("pictures are explained one by one" in note for note in e.notes)
    alone = seewhy.explain(as_model(net), pixels[:1], "ablation-cam", 1)
    torch.testing.assert_close(e.heatmap[:1], alone.heatmap)


class Counting(nn.Module):
    """Counts the pictures in each call."""

    def __init__(self):
        super().__init__()
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return x


def test_what_comes_before_the_layer_is_run_once():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        before, after = Counting(), Counting()
        net = nn.Sequential(
            before, nn.Conv2d(3, 32, 3, padding=1), nn.Sigmoid(), after,
            nn.Conv2d(32, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ).eval()  # fmt: skip
    model, pixels = as_model(net), NETWORKS["batch_norm"].pixels()[:2]
    seewhy.explain(model, pixels, "ablation-cam", layer="2")  # so that the model has been analysed
    before.seen.clear(), after.seen.clear()
    e = seewhy.explain(model, pixels, "ablation-cam", layer="2")
    # The recorded pictures, the two test channels (full and short), and one run per channel.
    assert sum(before.seen) == 2 + 2 + 1 + 2
    assert sum(after.seen) == 2 + 2 + 2 + 2 * 33
    assert e.cost.forwards == 1 + (2 + 2 + 2 * 33) / 2
    shared = "forwards are counted in full, although many share the part before 2"
    assert shared in e.notes
    whole = seewhy.explain(model, pixels, "ablation-cam", "4:0", layer="2")
    assert shared not in whole.notes and whole.cost.forwards == 1 + 33


def test_channels_that_are_zero_are_left_out():
    net = NETWORKS["batch_norm"].build()
    with torch.no_grad():
        net[4].bias[2:7] = -100.0
    model, pixels = as_model(net), NETWORKS["batch_norm"].pixels()[:1]
    e = seewhy.explain(model, pixels, "ablation-cam", layer="5")
    alive = int(seewhy.capture(model, pixels, ["5"])["5"].any((0, 2, 3)).sum())
    assert alive <= 3 and e.cost.forwards == 1 + 4 + 1 + alive


def test_hidden_units_edits_and_several_questions():
    case = NETWORKS["batch_norm"]
    net, pixels = case.build().double(), case.pixels().double()
    model = as_model(net)
    e = seewhy.explain(model, pixels, "ablation-cam", seewhy.each("5:1", 3), layer="2", relu=False)

    def unit(x: Tensor) -> Tensor:
        return seewhy.capture(model, x, ["5:1"])["5:1"].sum((1, 2))

    maps = seewhy.capture(model, pixels, ["2"])["2"]
    with seewhy.edited(model, {"2:4": seewhy.ablate()}):
        without = unit(pixels)
    whole = unit(pixels)
    share = (whole - without) / whole.abs()
    expected = share[:, None, None] * maps[:, 4]
    torch.testing.assert_close(e.attribution[:3, 4].double(), expected, rtol=1e-4, atol=1e-7)
    one = seewhy.explain(model, pixels, "ablation-cam", 3, layer="2", relu=False)
    torch.testing.assert_close(e.attribution[3:], one.attribution)
    with seewhy.edited(model, {"0:2": seewhy.scale(3)}):
        changed = seewhy.explain(model, pixels, "ablation-cam", 3, layer="2", relu=False)
        weights = slowly(model, "2", pixels[0], 3)
        found = ratio(changed.attribution[0].double(), model, "2", pixels[0])
    torch.testing.assert_close(found, weights, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("short", "most"), [(True, 3), (False, 3), (True, 1), (False, 1)])
def test_memory_that_runs_out_is_survived(short: bool, most: int):
    class Small(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x

    with torch.random.fork_rng():
        torch.manual_seed(5)
        base = [nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.Conv2d(8, CLASSES, 3)]
        end = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    order = [*base[:2], Small(), base[2]] if short else [Small(), *base]
    layer = "1" if short else "2"
    target = 1 if short else seewhy.each("3:0", 1)  # a hidden unit needs the whole network
    pixels = NETWORKS["batch_norm"].pixels()[:2]
    roomy = as_model(nn.Sequential(*base, *end))
    expected = seewhy.explain(roomy, pixels, "ablation-cam", 1, layer="1")
    tight = as_model(nn.Sequential(*order, *end))
    e = seewhy.explain(tight, pixels, "ablation-cam", target, layer=layer)
    assert any("memory ran out" in note for note in e.notes)
    torch.testing.assert_close(e.heatmap[-2:], expected.heatmap, rtol=1e-4, atol=1e-7)


def test_as_pytorch_grad_cam_has_it():
    """At a layer whose smallest value is zero; elsewhere pytorch-grad-cam ablates with -1e7."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("pytorch_grad_cam")
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2), normed(12), nn.ReLU(), nn.Conv2d(12, 10, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(40, 5),
        ).double().eval()  # fmt: skip
        pixels = torch.rand(2, 3, 32, 40).double()
    model = as_model(net)
    logits = model(pixels)
    target = logits.argmax(1).tolist()
    assert bool((logits.amax(1) > 0).all())
    normal = model.normalised(pixels)
    maps = net[:5](normal).detach()
    with library.AblationCAM(model=net, target_layers=[net[4]]) as cam:
        theirs = cam.get_cam_image(
            normal, net[4], [ClassifierOutputTarget(t) for t in target], maps.numpy(), None
        )
    ours = seewhy.explain(model, pixels, "ablation-cam", target, layer="4", relu=False)
    torch.testing.assert_close(
        ours.attribution.sum(1).double(), torch.from_numpy(theirs).double(), rtol=1e-4, atol=1e-6
    )
