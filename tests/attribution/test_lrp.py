"""LRP through the public API: conservation, unusual networks, layers, conditions, memory."""

import copy
import gc
from collections.abc import Callable, Iterator
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import seewhy
from networks import CLASSES, NETWORKS, as_model, normed
from seewhy.attribution.explanation import Explanation
from seewhy.autodiff.operations import Linear, Operation
from seewhy.errors import NotApplicable, SeewhyError, Unknown

METHODS = sorted(name for name in seewhy.methods() if name.startswith("lrp-"))
each_method = pytest.mark.parametrize("method", METHODS)


def assert_close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    """Assert that the tensors differ by less than `tolerance` times the largest value."""
    error = float((a - b).abs().max() / b.abs().max())
    assert error < tolerance, f"relative error {error:.1e}"


# Conservation


def torchvision(name: str, **options) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models

        return getattr(models, name)(num_classes=10, **options)

    return make


def timm(name: str, **options) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        return pytest.importorskip("timm").create_model(name, num_classes=10, **options)

    return make


ARCHITECTURES = {
    "SqueezeNet": torchvision("squeezenet1_1"),
    "ResNet-50": torchvision("resnet50"),
    "DenseNet-121": torchvision("densenet121"),
    "GoogLeNet": torchvision("googlenet", aux_logits=False, init_weights=False),
    "EfficientNet-B0": torchvision("efficientnet_b0"),
    "ConvNeXt-T": torchvision("convnext_tiny"),
    "ViT-S": timm("vit_small_patch16_224", img_size=64),
    "Swin-T": timm("swin_tiny_patch4_window7_224", img_size=64),
}


def lively(net: nn.Module) -> nn.Module:
    """Convert to float64, with weights that keep the signal and small biases in every layer."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, 0.02)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0.0, 0.02)
            nn.init.uniform_(module.running_var, 0.7, 1.3)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0.0, 0.02)
    return net.double().eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shares_of_pixels_and_constants_add_up_to_the_score(name: str):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = as_model(lively(ARCHITECTURES[name]()))
        pixels = torch.rand(2, 3, 64, 64)
    methods = [seewhy.methods()[method](epsilon=1e-9) for method in METHODS]
    panel = seewhy.compare(model, pixels, methods)
    assert {e.method for e in panel} == set(METHODS)
    for e in panel:
        assert e.residual is not None
        assert bool((e.residual < 1e-3).all()), (e.method, e.residual.tolist())
        arrived = e.attribution.abs().sum((1, 2, 3)) / e.score.abs()
        assert bool((arrived > 1e-2).all()), f"{e.method}: nothing arrived, {arrived.tolist()}"


def test_a_large_epsilon_shows_in_the_residual():
    case = NETWORKS["hidden_layer"]
    small = seewhy.explain(case.model(), case.pixels(), "lrp-epsilon", epsilon=1e-6)
    large = seewhy.explain(case.model(), case.pixels(), "lrp-epsilon", epsilon=0.3)
    assert small.residual is not None and large.residual is not None
    assert bool((small.residual < 1e-3).all()) and bool((large.residual > 0.1).all())
    assert bool((large.heatmap.sum((1, 2)).abs() < small.heatmap.sum((1, 2)).abs()).all())


# Networks written in an unusual way, and the same function written plainly


class Parts(nn.Module):
    """Layers that are combined in two ways."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3), *(nn.Conv2d(6, 6, 3, padding=1) for _ in "bc")
        self.n, self.m = normed(6), normed(6)
        self.fc = nn.Linear(6, CLASSES)
        # Copies with the same parameters, for layers that the unusual network uses twice.
        self.a2, self.b2 = copy.deepcopy(self.a), copy.deepcopy(self.b)
        self.n2, self.n3 = copy.deepcopy(self.n), copy.deepcopy(self.n)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(type(self).features(self, x).mean((2, 3)))

    @staticmethod
    def affine(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
        """Batch normalisation written as a product and a sum."""
        scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
        shift = norm.bias.detach() - norm.running_mean * scale
        return x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)


def rectified_in_place(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.b(s.a(x).relu_()), inplace=True)


def rectified_plainly(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.b(F.relu(s.a(x))))


def added_in_place(s: Parts, x: Tensor) -> Tensor:
    x = F.relu(s.a(x))
    y = s.b(x)
    y += x
    return y.relu_()


def added_plainly(s: Parts, x: Tensor) -> Tensor:
    x = F.relu(s.a(x))
    return F.relu(s.b(x) + x)


def overwritten_after_use(s: Parts, x: Tensor) -> Tensor:
    y = s.a(x)
    y.add_(s.b(y.relu()))
    return y.relu_()


def summed_after_use(s: Parts, x: Tensor) -> Tensor:
    y = s.a(x)
    return F.relu(y + s.b(F.relu(y)))


def scaled_in_place(s: Parts, x: Tensor) -> Tensor:
    y = s.a(x)
    y.mul_(2).add_(1)
    return F.relu(s.b(y))


def scaled_plainly(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.b(s.a(x) * 2 + 1))


def sliced_in_place(s: Parts, x: Tensor) -> Tensor:
    y = s.a(x)
    y[:, 5] = 0
    y[:, :3].relu_()
    return F.relu(s.b(y))


def sliced_plainly(s: Parts, x: Tensor) -> Tensor:
    y = s.a(x)
    return F.relu(s.b(torch.cat([F.relu(y[:, :3]), y[:, 3:5], torch.zeros_like(y[:, 5:])], 1)))


def normed_and_raw(s: Parts, x: Tensor) -> Tensor:
    y = s.a(x)
    return F.relu(s.n(y)) + F.relu(s.b(y))


def normed_and_raw_of_two(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.n(s.a(x))) + F.relu(s.b(s.a2(x)))


def normed_then_rectified_in_place(s: Parts, x: Tensor) -> Tensor:
    y = s.a(x)
    normal = s.n(y)
    y.relu_()
    return F.relu(s.b(y) + normal)


def normed_then_rectified_of_two(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.b(F.relu(s.a2(x))) + s.n(s.a(x)))


def normed_twice(s: Parts, x: Tensor) -> Tensor:
    y = s.a(x)
    return F.relu(s.b(F.relu(s.n(y)))) + F.relu(s.c(F.relu(s.m(y))))


def normed_and_affine(s: Parts, x: Tensor) -> Tensor:
    """The first normalisation is merged into its convolution, the second is an affine function."""
    return F.relu(s.b(F.relu(s.n(s.a(x))))) + F.relu(s.c(F.relu(s.affine(s.m, s.a2(x)))))


def norm_upon_norm(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.m(s.n(s.a(x))))


def affine_upon_norm(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.affine(s.m, s.n(s.a(x))))


def reused(s: Parts, x: Tensor) -> Tensor:
    x = F.relu(s.n(s.a(x)))
    x = F.relu(s.n(s.b(x)))
    return F.relu(s.n(s.b(x)))


def not_reused(s: Parts, x: Tensor) -> Tensor:
    x = F.relu(s.n(s.a(x)))
    x = F.relu(s.n2(s.b(x)))
    return F.relu(s.n3(s.b2(x)))


def functional(s: Parts, x: Tensor) -> Tensor:
    n = s.n
    x = torch.conv2d(x, s.a.weight, s.a.bias)
    x = F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps)
    return F.conv2d(torch.relu(x), s.b.weight, s.b.bias, padding="same").clamp(min=0)


def modular(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.b(F.relu(s.n(s.a(x)))))


def dropped_before_the_norm(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.b(F.relu(s.n(F.dropout(s.a(x), 0.5, s.training)))))


TWINS = [
    (rectified_in_place, rectified_plainly),
    (added_in_place, added_plainly),
    (overwritten_after_use, summed_after_use),
    (scaled_in_place, scaled_plainly),
    (sliced_in_place, sliced_plainly),
    (normed_and_raw, normed_and_raw_of_two),
    (normed_then_rectified_in_place, normed_then_rectified_of_two),
    (normed_twice, normed_and_affine),
    (norm_upon_norm, affine_upon_norm),
    (reused, not_reused),
    (functional, modular),
    (dropped_before_the_norm, modular),
]


def put_together(features: Callable[[Parts, Tensor], Tensor]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return type("Net", (Parts,), {"features": features})().double().eval()


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(6))


@each_method
@pytest.mark.parametrize(
    ("awkward", "plain"), TWINS, ids=lambda features: features.__name__.replace("_", " ")
)
def test_awkward_networks_say_what_plain_ones_say(
    method: str, awkward: Callable, plain: Callable, pixels: Tensor
):
    ours, expected = (
        seewhy.explain(as_model(put_together(features)), pixels, method, 1)
        for features in (awkward, plain)
    )
    torch.testing.assert_close(ours.logits, expected.logits)
    assert_close(ours.attribution, expected.attribution)
    assert ours.residual is not None and bool((ours.residual < 1e-2).all())


@each_method
def test_weight_norm_and_frozen_weights_do_not_matter(method: str, pixels: Tensor):
    expected = seewhy.explain(as_model(put_together(modular)), pixels, method, 1)
    parametrised = put_together(modular)
    weight_norm(parametrised.a)
    weight_norm(parametrised.b)
    frozen = put_together(modular).requires_grad_(False)
    half_frozen = put_together(modular)
    half_frozen.a.requires_grad_(False)
    for net in (parametrised, frozen, half_frozen):
        assert_close(
            seewhy.explain(as_model(net), pixels, method, 1).attribution, expected.attribution
        )


# Stopping at a layer


LAYERS = ["a", "n", "b", "m"]


def chain(s: Parts, x: Tensor) -> Tensor:
    return F.relu(s.m(s.b(F.relu(s.n(s.a(x)), inplace=True))), inplace=True)


@each_method
@pytest.mark.parametrize("layer", LAYERS)
def test_a_graph_that_begins_at_a_layer_says_what_a_whole_one_says(
    method: str, layer: str, pixels: Tensor
):
    model, cls = as_model(put_together(chain)), seewhy.methods()[method]
    alone = seewhy.explain(model, pixels, method, 1, layer=layer)
    at_pixels = seewhy.explain(model, pixels, method, 1)
    asked = [cls(), cls(layer=layer), seewhy.methods()["gradient"]()]
    whole, at_layer, _ = seewhy.compare(model, pixels, asked, 1)
    assert alone.cost.backwards == 1
    assert_close(at_layer.attribution, alone.attribution)
    assert_close(whole.attribution, at_pixels.attribution)


@each_method
@pytest.mark.parametrize(("before", "after"), [("a", "n"), ("b", "m")])
def test_a_convolution_and_its_norm_have_the_same_relevance(
    method: str, before: str, after: str, pixels: Tensor
):
    """They are merged into one operation, so the relevance is the same at both."""
    model = as_model(put_together(chain))
    one, other = (
        seewhy.explain(model, pixels, method, 1, layer=layer) for layer in (before, after)
    )
    assert_close(one.attribution, other.attribution)


@each_method
def test_relevance_of_a_convolution_that_is_read_twice(method: str, pixels: Tensor):
    """The relevance is the sum over two copies of the convolution that are read once each."""
    shared = as_model(put_together(normed_and_raw))
    apart = as_model(put_together(normed_and_raw_of_two))
    found = seewhy.explain(shared, pixels, method, 1, layer="a").attribution
    parts = [seewhy.explain(apart, pixels, method, 1, layer=at).attribution for at in ("a", "a2")]
    assert_close(found, parts[0] + parts[1])


def test_relevance_at_a_layer_by_hand(pixels: Tensor):
    """At the last feature maps, pooling and linear layer give x_k w_k z / (z + eps) / cells."""
    net = put_together(chain)
    maps = chain(net, normalised(net, pixels))
    logits = net.fc(maps.mean((2, 3)))
    e = seewhy.explain(as_model(net), pixels, "lrp-epsilon", 3, layer="m", epsilon=0.1)
    z = logits[:, 3, None, None, None].detach()
    cells = maps.shape[-1] * maps.shape[-2]
    share = maps * net.fc.weight[3].view(-1, 1, 1) / cells * z / (z + 0.1 * z.sign())
    assert_close(e.attribution, share.detach().float())


def normalised(net: nn.Module, pixels: Tensor) -> Tensor:
    model = as_model(net)
    return (pixels.double() - model.mean) / model.std


# Conditions


@each_method
@pytest.mark.parametrize("layer", LAYERS)
def test_single_channels_add_up_to_the_unconditional_map(method: str, layer: str, pixels: Tensor):
    """If all relevance passes through the layer."""
    model = as_model(put_together(chain))
    whole = seewhy.explain(model, pixels, method, 1)
    single = [
        seewhy.explain(model, pixels, method, 1, through=f"{layer}:{channel}").attribution
        for channel in range(6)
    ]
    assert_close(sum(single), whole.attribution)
    assert (single[0] - single[1]).abs().max() > 0
    some = seewhy.explain(model, pixels, method, 1, through=(f"{layer}:1", f"{layer}:4"))
    assert_close(some.attribution, single[1] + single[4])
    assert some.residual is None


@each_method
@pytest.mark.parametrize("layer", LAYERS)
def test_a_condition_masks_relevance_at_its_layer(method: str, layer: str, pixels: Tensor):
    """Equivalent to masking the relevance at the layer and starting from there."""
    model, channel = as_model(put_together(chain)), 2
    at_layer = seewhy.explain(model, pixels, method, 1, layer=layer).attribution.double()
    masked = torch.zeros_like(at_layer)
    masked[:, channel] = at_layer[:, channel]
    lower = as_model(Lower(model.net, layer, masked))
    expected = seewhy.explain(lower, pixels, method, 0)
    found = seewhy.explain(model, pixels, method, 1, through=f"{layer}:{channel}")
    assert_close(expected.score, masked.sum((1, 2, 3)).float())
    assert_close(found.attribution, expected.attribution, 1e-4)


class Lower(nn.Module):
    """The network up to a layer, with a logit that equals its relevance: the sum of z * (R / z).

    The product with the constant R / z passes on exactly the relevance R.
    """

    def __init__(self, net: nn.Module, layer: str, relevance: Tensor):
        super().__init__()
        self.net, self.layer, self.relevance = net, layer, relevance

    def forward(self, x: Tensor) -> Tensor:
        s = self.net
        z = s.a(x)
        z = s.n(z) if self.layer in ("a", "n") else s.m(s.b(F.relu(s.n(z))))
        per_unit = torch.where(self.relevance == 0, 0, self.relevance / z.detach())
        return (z * per_unit).sum((1, 2, 3))[:, None].expand(-1, 2)


@each_method
def test_conditions_at_two_layers_are_both_passed(method: str, pixels: Tensor):
    model = as_model(put_together(chain))
    pairs = {
        (i, j): seewhy.explain(model, pixels, method, 1, through=(f"n:{i}", f"m:{j}")).attribution
        for i, j in product(range(6), (0, 3))
    }
    for j in (0, 3):
        expected = seewhy.explain(model, pixels, method, 1, through=f"m:{j}")
        assert_close(sum(pairs[i, j] for i in range(6)), expected.attribution)


@each_method
@pytest.mark.parametrize(
    ("layer", "through"), [("a", "a:2"), ("n", "n:2"), ("a", "m:2"), ("n", "b:2")]
)
def test_a_condition_holds_also_where_the_graph_begins(
    method: str, layer: str, through: str, pixels: Tensor
):
    model, cls = as_model(put_together(chain)), seewhy.methods()[method]
    alone = seewhy.explain(model, pixels, method, 1, layer=layer, through=through)
    panel = seewhy.compare(model, pixels, [cls(layer=layer, through=through), cls()], 1)
    assert_close(panel.explanations[0].attribution, alone.attribution)
    unconditional = seewhy.explain(model, pixels, method, 1, layer=layer)
    assert not torch.allclose(alone.attribution, unconditional.attribution)


@each_method
def test_a_condition_on_a_convolution_that_is_read_twice(method: str, pixels: Tensor):
    model = as_model(put_together(normed_and_raw))
    single = [
        seewhy.explain(model, pixels, method, 1, through=f"a:{channel}").attribution
        for channel in range(6)
    ]
    assert_close(sum(single), seewhy.explain(model, pixels, method, 1).attribution)


# Precision, batches, memory


@each_method
@pytest.mark.parametrize(
    "network", ["batch_norm", "residual_in_place", "depthwise", "vit", "swin_like", "convnext_like"]
)
def test_bfloat16_is_as_good_as_it_is_for_the_gradient(method: str, network: str):
    """Within 5 percent, unless ReLUs near their threshold change any gradient by more."""
    case = NETWORKS[network]

    def error(name: str) -> float:
        full = seewhy.explain(case.model(), case.pixels(), name)
        fast = seewhy.explain(case.model(), case.pixels(), name, full.target, precision="fast")
        assert not torch.equal(fast.logits, full.logits)
        off, size = (v.flatten(1).norm(dim=1) for v in (fast.heatmap - full.heatmap, full.heatmap))
        return float((off / size).max())

    assert error(method) < max(0.05, 1.5 * error("input-x-gradient"))


@each_method
@pytest.mark.parametrize("options", [{}, {"layer": "a"}, {"through": "n:1"}], ids=str)
def test_a_batch_says_what_its_pictures_say(method: str, options: dict, pixels: Tensor):
    model = as_model(put_together(normed_then_rectified_in_place))
    batch = seewhy.explain(model, pixels, method, [1, 3], **options)
    for i, target in enumerate([1, 3]):
        one = seewhy.explain(model, pixels[i : i + 1], method, target, **options)
        assert_close(batch.attribution[i : i + 1], one.attribution)
        if one.residual is not None and batch.residual is not None:
            torch.testing.assert_close(batch.residual[i], one.residual[0], rtol=0.1, atol=1e-6)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept_operations() -> int:
    return sum(type(thing) in (Operation, Linear) for thing in gc.get_objects())


@each_method
@pytest.mark.parametrize(
    "network", ["batch_norm", "residual_in_place", "squeeze_and_excite", "vit"]
)
def test_nothing_of_the_recorded_graph_is_kept(method: str, network: str, no_collection: None):
    """No reference cycle keeps the graph alive until garbage collection."""
    case = NETWORKS[network]
    model, before = case.model(), kept_operations()
    layer = model.find_layer(case.pixels())
    for options in ({}, {"layer": layer}, {"through": f"{layer}:1"}):
        e = seewhy.explain(model, case.pixels(), method, **options)
        assert kept_operations() == before, options
        assert isinstance(e, Explanation)
    panel = seewhy.compare(model, case.pixels(), [*METHODS, "gradient"], 1)
    assert kept_operations() == before
    assert len(panel.explanations) == len(METHODS) + 1


def test_operations_are_seen_while_they_live():
    """The count in the test above is positive during a run."""
    counted = []

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            counted.append(kept_operations())
            return x

    case = NETWORKS["batch_norm"]
    seewhy.explain(as_model(nn.Sequential(case.build(), Counting())), case.pixels(), METHODS[0])
    assert counted[-1] >= 4


# Invalid arguments


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epsilon": 0.0}, SeewhyError, "above 0"),
        ({"epsilon": -1.0}, SeewhyError, "above 0"),
        ({"layer": "nothing"}, Unknown, "nothing"),
        ({"layer": "fc"}, SeewhyError, "no rows and columns"),
        ({"through": "nothing:1"}, Unknown, "nothing"),
        ({"through": "a:99"}, SeewhyError, "6 channels"),
        ({"through": "a:one"}, SeewhyError, "cannot read"),
    ],
    ids=str,
)
def test_bad_input_ends_in_one_line(
    options: dict, error: type[Exception], words: str, pixels: Tensor
):
    with pytest.raises(error, match=words) as caught:
        seewhy.explain(as_model(put_together(chain)), pixels, "lrp-epsilon", **options)
    assert "\n" not in str(caught.value)


def test_gamma_must_not_be_negative(pixels: Tensor):
    with pytest.raises(SeewhyError, match="negative"):
        seewhy.explain(as_model(put_together(chain)), pixels, "lrp-epsilon-gamma-box", gamma=-0.5)


@each_method
def test_a_network_without_linear_operations_is_refused(method: str, pixels: Tensor):
    class Brightness(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)).exp()

    with pytest.raises(NotApplicable, match="convolutions and linear layers"):
        seewhy.explain(as_model(Brightness()), pixels, method)


@each_method
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_networks_are_refused(method: str, pixels: Tensor):
    traced = torch.jit.trace(put_together(chain).float(), pixels)
    with pytest.raises(NotApplicable, match="TorchScript"):
        seewhy.explain(as_model(traced), pixels, method)
