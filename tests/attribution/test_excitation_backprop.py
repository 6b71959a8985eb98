"""Excitation backprop against layer-by-layer loops written from the paper's formula."""

import math
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50, squeezenet1_1, vgg16
from torchvision.utils import save_image

import seewhy
from networks import head, normed
from seewhy.attribution.method import as_method
from seewhy.attribution.methods.excitation_backprop import stage_before
from seewhy.autodiff.rules.excitation import contrastive_excitation, excitation
from seewhy.autodiff.tape import Tape
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.images import find_pictures
from seewhy.scenes import render, sample

sys.path.append(str(Path(__file__).parents[2]))  # for docs

from docs import class_switch

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CLASSES, TARGET = 10, [3, 7]
EBP, CONTRASTIVE = "excitation-backprop", "contrastive-excitation-backprop"

each_method = pytest.mark.parametrize("method", [EBP, CONTRASTIVE])


def pixels(side: int = 64) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def seeded(factory: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return factory().double().eval()


def as_model(net: nn.Module) -> seewhy.Model:
    return seewhy.Model(net, mean=MEAN, std=STD)


def normal(values: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((values - mean) / std).double()


def assert_close(ours: Tensor, expected: Tensor, tolerance: float = 1e-6) -> None:
    assert ours.shape == expected.shape
    assert bool(expected.abs().amax((1, 2, 3)).gt(0).all())
    error = float((ours.double() - expected).abs().max() / expected.abs().max())
    assert error < tolerance, f"relative error {error:.1e}"


# The formula, operation by operation, in float64


def through_dense(p: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """p_i = sum over j of x_i w+_ji p_j / sum over i of x_i w+_ji."""
    excited = x[:, None, :] * weight.clamp(min=0)  # batch, outputs, inputs
    shares = excited / excited.sum(2, keepdim=True)
    return (p[:, :, None] * shares.nan_to_num(0)).sum(1)


def through_conv(p: Tensor, x: Tensor, conv: nn.Conv2d, weight: Tensor) -> Tensor:
    """x+ * W+^T s - x- * W-^T s with s = p / excitation; for x >= 0 the second term is zero."""
    how = (conv.stride, conv.padding, conv.dilation, conv.groups)
    parts = [(x.clamp(min=0), weight.clamp(min=0)), (x.clamp(max=0), weight.clamp(max=0))]
    total = sum(F.conv2d(x_, w_, None, *how) for x_, w_ in parts)
    s = torch.where(total > 0, p / total, 0)
    found = torch.zeros_like(x)
    for x_, w_ in parts:
        missing = [
            n - ((m - 1) * stride - 2 * pad + k)
            for n, m, stride, pad, k in zip(
                x.shape[2:], p.shape[2:], conv.stride, conv.padding, conv.kernel_size, strict=True
            )
        ]
        found += x_ * F.conv_transpose2d(s, w_, None, conv.stride, conv.padding, missing)
    return found


def through_max_pool(p: Tensor, x: Tensor, pool: nn.MaxPool2d) -> Tensor:
    _, winner = F.max_pool2d(
        x, pool.kernel_size, pool.stride, pool.padding, ceil_mode=pool.ceil_mode,
        return_indices=True,
    )  # fmt: skip
    found = torch.zeros_like(x).flatten(2)
    return found.scatter_add(2, winner.flatten(2), p.flatten(2)).view_as(x)


def through_average(p: Tensor, x: Tensor) -> Tensor:
    """Adaptive average pooling, as a product with a matrix of windows along each axis."""
    rows, columns = (_windows(n, m).to(x) for n, m in zip(x.shape[2:], p.shape[2:], strict=True))
    mean = torch.einsum("ih,jw,bchw->bcij", rows, columns, x)
    s = torch.where(mean > 0, p / mean, 0)
    return x * torch.einsum("ih,jw,bcij->bchw", rows, columns, s)


def _windows(n: int, m: int) -> Tensor:
    found = torch.zeros(m, n)
    for i in range(m):
        first, last = math.floor(i * n / m), math.ceil((i + 1) * n / m)
        found[i, first:last] = 1 / (last - first)
    return found


def through_sum(p: Tensor, branch: Tensor, skip: Tensor, policy: str) -> tuple[Tensor, Tensor]:
    if policy == "ignore-skip":
        return p, torch.zeros_like(p)
    a, b = branch.clamp(min=0), skip.clamp(min=0)
    return tuple(torch.where(a + b > 0, p * one / (a + b), 0) for one in (a, b))


def through_head(p: Tensor, x: Tensor, weight: Tensor, contrastive: bool) -> Tensor:
    found = through_dense(p, x, weight)
    return found - through_dense(p, x, -weight) if contrastive else found


def start() -> Tensor:
    return F.one_hot(torch.tensor(TARGET), CLASSES).double()


def at_layers(net: nn.Module, layers: list[str], method: str, **parameters: str) -> seewhy.Panel:
    """Run the method at each layer, with one shared forward pass."""
    methods = [as_method(method, layer=layer, **parameters) for layer in layers]
    return seewhy.compare(as_model(net), pixels(), methods, TARGET)


# VGG16


def vgg() -> nn.Module:
    """Return a VGG16 with fewer units in its linear layers."""
    with torch.device("meta"):
        net = vgg16(init_weights=False)
    net.features = vgg16_features()
    net.classifier = nn.Sequential(
        nn.Linear(512 * 7 * 7, 64), nn.ReLU(True), nn.Dropout(),
        nn.Linear(64, 48), nn.ReLU(True), nn.Dropout(), nn.Linear(48, CLASSES),
    )  # fmt: skip
    return net


def vgg16_features() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for block, width in zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True):
        for _ in range(block):
            conv = nn.Conv2d(channels, width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight)
            nn.init.normal_(conv.bias, 0.0, 0.3)
            layers += [conv, nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


@cache
def vgg_net() -> nn.Module:
    return seeded(vgg)


def vgg_reference(net: nn.Module, x: Tensor, contrastive: bool) -> dict[str, Tensor]:
    """Return p at the output of every module of `features`, and at the pixels."""
    given = []  # inputs of each module of `features`
    for module in net.features:
        given.append(x)
        x = module(x.clone())
    pooled = F.adaptive_avg_pool2d(x, 7)
    hidden = [pooled.flatten(1)]
    for i in (0, 3):
        hidden.append(net.classifier[i](hidden[-1]).relu())
    p = through_head(start(), hidden[2], net.classifier[6].weight, contrastive)
    p = through_dense(p, hidden[1], net.classifier[3].weight)
    p = through_dense(p, hidden[0], net.classifier[0].weight)
    p = through_average(p.view_as(pooled), x)
    found = {}
    for i in reversed(range(len(net.features))):
        found[f"features.{i}"] = p
        module = net.features[i]
        if isinstance(module, nn.Conv2d):
            p = through_conv(p, given[i], module, module.weight)
        elif isinstance(module, nn.MaxPool2d):
            p = through_max_pool(p, given[i], module)
    return {**found, "input": p}


@cache
@torch.no_grad()
def vgg_expected(contrastive: bool) -> dict[str, Tensor]:
    return vgg_reference(vgg_net(), normal(pixels()), contrastive)


@each_method
def test_vgg16(method: str):
    expected = vgg_expected(method == CONTRASTIVE)
    for e in at_layers(vgg_net(), ["features.30", "features.23", "features.14", "input"], method):
        layer = e.provenance.parameters["layer"]
        assert_close(e.attribution, expected[layer])
        heatmap = expected[layer].sum(1, keepdim=True).clamp(min=0)
        shown = F.interpolate(heatmap, (64, 64), mode="bilinear", align_corners=False)
        assert_close(e.heatmap[:, None], shown)


# ResNet50


@cache
def resnet_net() -> nn.Module:
    def build() -> nn.Module:
        net = resnet50(num_classes=CLASSES)
        for name, module in list(net.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                parent, _, own = name.rpartition(".")
                norm = normed(module.num_features)
                with torch.no_grad():
                    norm.weight *= torch.where(torch.rand_like(norm.weight) < 0.1, -1.0, 1.0)
                setattr(net.get_submodule(parent), own, norm)
        return net

    return seeded(build)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    return conv.weight * (norm.weight / (norm.running_var + norm.eps).sqrt()).view(-1, 1, 1, 1)


def resnet_reference(
    net: nn.Module, x: Tensor, contrastive: bool, policy: str
) -> dict[str, Tensor]:
    """Return p at the output of every block and stage, at the stem, and at the pixels."""
    picture = x
    stem = net.bn1(net.conv1(x)).relu()
    x = net.maxpool(stem)
    blocks = [
        (f"layer{stage}", f"layer{stage}.{number}", block)
        for stage in (1, 2, 3, 4)
        for number, block in enumerate(net.get_submodule(f"layer{stage}"))
    ]
    ran = []
    for stage, name, block in blocks:
        a = block.bn1(block.conv1(x)).relu()
        b = block.bn2(block.conv2(a)).relu()
        branch = block.bn3(block.conv3(b))
        skip = x if block.downsample is None else block.downsample(x)
        ran.append((stage, name, block, x, a, b, branch, skip))
        x = (branch + skip).relu()
    p = through_head(start(), x.mean((2, 3)), net.fc.weight, contrastive)
    p = through_average(p[:, :, None, None], x)
    found = {}
    for stage, name, block, x, a, b, branch, skip in reversed(ran):
        found.setdefault(stage, p)
        found[name] = p
        of_branch, of_skip = through_sum(p, branch, skip, policy)
        of_branch = through_conv(of_branch, b, block.conv3, folded(block.conv3, block.bn3))
        of_branch = through_conv(of_branch, a, block.conv2, folded(block.conv2, block.bn2))
        of_branch = through_conv(of_branch, x, block.conv1, folded(block.conv1, block.bn1))
        if block.downsample is not None:
            conv, norm = block.downsample
            of_skip = through_conv(of_skip, x, conv, folded(conv, norm))
        p = of_branch + of_skip
    p = through_max_pool(p, stem, net.maxpool)
    found["input"] = through_conv(p, picture, net.conv1, folded(net.conv1, net.bn1))
    return found


@cache
@torch.no_grad()
def resnet_expected(contrastive: bool, policy: str) -> dict[str, Tensor]:
    return resnet_reference(resnet_net(), normal(pixels()), contrastive, policy)


@pytest.mark.parametrize("policy", ["proportional", "ignore-skip"])
@each_method
def test_resnet50(method: str, policy: str):
    expected = resnet_expected(method == CONTRASTIVE, policy)
    layers = ["layer4", "layer4.1", "layer3", "layer1", "input"]
    for e in at_layers(resnet_net(), layers, method, skip=policy):
        assert_close(e.attribution, expected[e.provenance.parameters["layer"]])


# Properties of the formula


class Plain(nn.Module):
    """A network without biases, with one projected and one identity skip connection."""

    def __init__(self):
        super().__init__()

        def conv(i: int, o: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(i, o, side, stride, side // 2, bias=False)

        self.stem = conv(3, 8)
        self.down = nn.ModuleList([conv(8, 12, 3, 2), conv(12, 12), conv(8, 12, 1, 2)])
        self.same = nn.ModuleList([conv(12, 12), conv(12, 12)])
        self.pool = nn.MaxPool2d(2)
        self.one, self.two = nn.Identity(), nn.Identity()
        self.fc = nn.Linear(12, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(self.pool(self.stem(x).relu()))
        x = self.two((self.down[1](self.down[0](x).relu()) + self.down[2](x)).relu())
        x = (self.same[1](self.same[0](x).relu()) + x).relu()
        return self.fc(x.mean((2, 3)))


PLACES = ["two", "same.0", "one", "pool", "input"]


@pytest.mark.parametrize("layer", PLACES)
@pytest.mark.parametrize("policy", ["proportional", "ignore-skip"])
def test_probability_adds_up_to_one_and_its_contrast_to_zero(policy: str, layer: str):
    model = as_model(seeded(Plain))
    alone = layer == "same.0" and policy == "proportional"  # it is parallel to a skip connection
    p = seewhy.explain(model, pixels(32), EBP, TARGET, layer=layer, skip=policy)
    assert float(p.attribution.min()) >= 0
    total = p.attribution.double().sum((1, 2, 3))
    assert bool((total < 0.99).all()) if alone else total.tolist() == pytest.approx([1, 1])
    assert p.residual is not None
    assert p.residual.tolist() == pytest.approx((total - 1).abs().tolist(), abs=1e-6)
    assert p.heatmap.min() >= 0 and not p.signed
    if not alone:
        difference = seewhy.explain(
            model, pixels(32), CONTRASTIVE, TARGET, layer=layer, skip=policy
        )
        values = difference.attribution.double()
        assert values.sum((1, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-6)
        assert bool((values.abs().sum((1, 2, 3)) > 1e-3).all())
        assert difference.heatmap.min() >= 0 and not difference.signed


@pytest.mark.parametrize("bias", [-100.0, -1.0, 1e-4, 50.0])
@each_method
def test_the_class_begins_with_one_whatever_its_logit(method: str, bias: float):
    net = seeded(Plain)
    model = as_model(net)
    expected = seewhy.explain(model, pixels(32), method, TARGET).attribution
    logits = model(pixels(32))
    net.fc.bias = nn.Parameter(bias - logits[0].detach())  # logits of picture 0: `bias`
    found = seewhy.explain(as_model(net), pixels(32), method, TARGET)
    assert float(found.score[0]) == pytest.approx(bias, rel=1e-5)
    assert_close(found.attribution, expected.double(), 1e-5)


@each_method
def test_a_difference_of_classes_is_for_one_and_against_the_other(method: str):
    model = as_model(seeded(Plain))
    one = pixels(32)[:1]
    for a, b in ((1, 4), (4, 1)):
        target = seewhy.difference(a, b)
        found = seewhy.explain(model, one, method, target).attribution.double()
        of_a, of_b = (seewhy.explain(model, one, method, t) for t in (a, b))
        began = torch.stack([of_a.score, -of_b.score]).double() / (of_a.score + of_b.score)
        assert_close(found, began[0] * of_a.attribution + began[1] * of_b.attribution, 1e-5)


@each_method
def test_a_hidden_unit_begins_with_one_and_reads_what_it_sees(method: str):
    e = seewhy.explain(as_model(seeded(Plain)), pixels(32), method, "two:3@2,2", layer="one")
    total = 1 if method == EBP else 0
    assert e.attribution.double().sum((1, 2, 3)).tolist() == pytest.approx([total] * 2, abs=1e-6)
    rows, columns = e.attribution.abs().sum((0, 1)).nonzero().T
    assert (int(rows.min()), int(rows.max())) == (int(columns.min()), int(columns.max())) == (1, 7)


def test_the_opposite_of_a_map_of_classes_wins_over_all_its_places():
    """After a 1x1 convolution every location has its own logit; separately, all would cancel."""

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, CLASSES, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip

    net = seeded(build)
    target = as_model(net)(pixels(16)).argmax(1)
    e = seewhy.explain(as_model(net), pixels(16), CONTRASTIVE, target.tolist(), layer="1")
    with torch.no_grad():
        x = net[1](net[0](normal(pixels(16))))
        for i, k in enumerate(target.tolist()):
            weight = net[2].weight[k, :, 0, 0]
            logits = net[3](net[2](x[i]))[k]
            p = logits / logits.sum()
            against = x[i] * (-weight).clamp(min=0)[:, None, None] * (p > 0)
            excited = x[i] * weight.clamp(min=0)[:, None, None]
            expected = (excited / excited.sum(0) * p).nan_to_num(0) - against / against.sum()
            assert_close(e.attribution[i][None], expected[None])


# Operations between the linear layers


def pulled(
    function: Callable[..., Tensor],
    *inputs: Tensor,
    policy: str = "proportional",
    weights: Tensor | None = None,
) -> list[Tensor]:
    """Return p of the inputs if p of the output is function(*inputs) * weights."""
    rules = excitation(policy)
    inputs = tuple(x.requires_grad_() for x in inputs)
    with Tape(rules.by_kind) as tape:
        output = function(*(x * 1 for x in inputs))
    score = (output * (torch.ones_like(output) if weights is None else weights)).sum()
    gradients = tape.pull(score, inputs, rules)
    return [(x * g).detach() for x, g in zip(inputs, gradients, strict=True)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def add_in_place(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a.relu_()


SUMS = {
    "operator": (lambda a, b: (a + b).relu(), 1.0),
    "in place": (add_in_place, 1.0),
    "function": (lambda a, b: F.relu(torch.add(a, b)), 1.0),
    "alpha": (lambda a, b: torch.add(a, b, alpha=0.5).relu_(), 0.5),
    "difference": (lambda a, b: (a - b).relu(), -1.0),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_negative_term_of_a_sum_gets_nothing(name: str):
    function, sign = SUMS[name]
    a, b = drawn(2, 3, 4, 4), drawn(2, 3, 4, 4, seed=1)
    p = (a + sign * b).relu()  # for an output y and the score sum(y), p = y
    up = [a.clamp(min=0), (sign * b).clamp(min=0)]
    expected = [torch.where(p > 0, p * one / (up[0] + up[1]), 0) for one in up]
    found = pulled(function, a.clone(), b.clone())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(found[0] + found[1], p)


def test_a_term_that_is_repeated_gets_the_sum_of_its_shares():
    a, b = drawn(2, 3, 4, 4).abs(), drawn(2, 3, 1, 1, seed=1).abs()
    found = pulled(lambda a, b: a + b, a, b)
    torch.testing.assert_close(found[0], a.detach())
    torch.testing.assert_close(found[1], 16 * b.detach())


def test_the_skip_connection_is_the_term_with_fewer_linear_operations():
    x, kernel = drawn(1, 3, 5, 5).abs(), drawn(3, 3, 1, 1, seed=1)

    def conv(x: Tensor) -> Tensor:
        return F.conv2d(x, kernel)

    with torch.no_grad():
        p = conv(conv(x).relu()) + conv(x)
    wins = (p > 0).double()
    alone = pulled(lambda x: conv(conv(x).relu()), x, weights=wins * p / conv(conv(x).relu()))
    for function in (
        lambda x: conv(conv(x).relu()) + conv(x),
        lambda x: conv(x) + conv(conv(x).relu()),
    ):
        (found,) = pulled(function, x, policy="ignore-skip", weights=wins)
        torch.testing.assert_close(found, alone[0])
    two, other = drawn(1, 3, 5, 5).abs(), drawn(1, 3, 5, 5, seed=2).abs()
    for found, expected in zip(
        pulled(lambda a, b: a + b, two, other, policy="ignore-skip"), (two, other), strict=True
    ):
        torch.testing.assert_close(found, expected.detach())  # equally deep: shared in proportion


PASSING = {
    "batch norm": lambda x: F.batch_norm(
        x, drawn(3, seed=2), drawn(3, seed=3).abs() + 1, drawn(3, seed=4), drawn(3, seed=5)
    ),
    "group norm": lambda x: F.group_norm(x, 1, drawn(3, seed=2), drawn(3, seed=3)),
    "constant": lambda x: x - 0.3,
    "constant before": lambda x: 0.3 - x,
    "bias per channel": lambda x: x + drawn(3, 1, 1, seed=2),
    "ceiling": lambda x: F.relu6(8 * x),
}


@pytest.mark.parametrize("name", PASSING)
def test_p_passes_unchanged(name: str):
    x = drawn(2, 3, 4, 4)
    expected = PASSING[name](x).relu()
    (found,) = pulled(lambda x: PASSING[name](x).relu_(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_contrast_of_any_inputs(sign: int):
    """(w x)+ computed separately, also for negative inputs."""
    x, weight = drawn(2, 6), drawn(4, 6, seed=1)
    with torch.no_grad():
        z = F.linear(x, weight)
        contributions = sign * x[:, None] * weight
        up = contributions.clamp(min=0)
        expected = (z[:, :, None] * up / up.sum(2, keepdim=True)).sum(1)
    found = pulled(lambda x: F.linear(x, weight), x)
    with Tape(["linear"]) as tape:
        output = F.linear(x, weight)
    rules = contrastive_excitation("proportional")
    (contrast,) = tape.pull(output.sum(), [x], rules)
    of_sign = found[0] if sign == 1 else found[0] - (x * contrast).detach()
    torch.testing.assert_close(of_sign, expected)


# Default layers, and networks to which it does not apply


def test_the_layer_is_one_stage_before_that_of_cam():
    squeeze = squeezenet1_1(num_classes=CLASSES)
    for net, layer, cam in (
        (vgg_net(), "features.29", "features"),
        (resnet_net(), "layer3", "layer4"),
        (squeeze.eval(), "features.7", "features"),
    ):
        model = as_model(net)
        picture = pixels(96)[:1]
        assert model.find_layer(picture) == cam
        assert stage_before(model, picture) == layer


def test_without_coarser_maps_the_layer_is_that_of_cam():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), head(4))
    assert stage_before(as_model(net), pixels(16)) == "1"


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@each_method
def test_networks_without_rectifiers_are_refused(method: str):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), head(4))
    with pytest.raises(NotApplicable, match="has no ReLU, so activations may be negative"):
        seewhy.explain(as_model(net), pixels(16), method)
    hidden = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    compiled = nn.Sequential(torch.jit.trace(hidden, pixels(16)), head(4))
    with pytest.raises(NotApplicable, match="TorchScript"):
        seewhy.explain(as_model(compiled), pixels(16), method, layer="input")


@each_method
def test_an_unknown_policy_is_refused(method: str):
    with pytest.raises(SeewhyError, match="skip must be proportional or ignore-skip, not 'none'"):
        seewhy.explain(as_model(seeded(Plain)), pixels(32), method, skip="none")


# Comparison with zennit


def test_zennit():
    """zennit's rule gives biases a share unless they are set to zero."""
    attribution = pytest.importorskip("zennit.attribution")
    composites = pytest.importorskip("zennit.composites")

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3), nn.ReLU(),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24 * 49, 32), nn.ReLU(),
            nn.Linear(32, CLASSES),
        )  # fmt: skip

    net = seeded(build)
    e = seewhy.explain(as_model(net), pixels(32), EBP, TARGET, layer="input")
    composite = composites.ExcitationBackprop(stabilizer=1e-12, zero_params=["bias"])
    with attribution.Gradient(net, composite) as attributor:
        _, relevance = attributor(normal(pixels(32)), start())
    assert_close(e.attribution, relevance)


# Real pictures

REAL = os.environ.get("SEEWHY_REAL")


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="SEEWHY_REAL names no folder of real models and photos")
def test_maps_move_to_the_photograph_that_is_asked_about():
    model = seewhy.open_model(
        "torchvision/squeezenet1_1", f"{REAL}/models/squeezenet1_1_imagenet_fp16.safetensors"
    )
    pairs = class_switch.drawn(model, find_pictures(f"{REAL}/images/imagenet"), count=4)
    rows = [class_switch.measured(model, pairs, method) for method in class_switch.METHODS]
    named = {row.method: float(row.named.mean()) for row in rows}
    moves = {row.method: float(row.moves.mean()) for row in rows}
    moving = [EBP, CONTRASTIVE, "grad-cam", "lrp-epsilon-plus", "lrp-epsilon-gamma-box"]
    assert max(named, key=named.get) == CONTRASTIVE and named[CONTRASTIVE] > 0.8
    assert min(named[m] for m in moving) > named["guided-backprop"] + 0.05
    assert min(moves[m] for m in moving) > moves["guided-backprop"] + 0.1
    assert named["guided-backprop"] > named["deconvnet"] + 0.05
    assert named["deconvnet"] == pytest.approx(0.5, abs=0.02)
    assert moves["deconvnet"] == pytest.approx(0, abs=0.03)


def test_the_centre_of_mass():
    heatmap = torch.zeros(3, 2, 4)
    heatmap[0, :, 3], heatmap[1, 0, 0], heatmap[1, 0, 1], heatmap[2] = 5, 1, 3, -1
    assert class_switch.centre(heatmap).tolist() == [0.875, (0.125 + 3 * 0.375) / 4, 0.5]


def test_the_script_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert class_switch.main(["--photos", str(tmp_path), "-m", "scenes"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("docs.class_switch: ") and told.count("\n") == 1


def test_the_script_prints_a_row_for_each_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """With rendered scenes instead of photographs."""
    scenes = render(sample(12, seed=3), 64).pixels
    for number, scene in enumerate(scenes):
        save_image(scene, tmp_path / f"{number}.png")
    given = ["--photos", str(tmp_path), "-m", "scenes", "--pairs", "2"]
    assert class_switch.main([*given, "--methods", f"{CONTRASTIVE},gradient"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| `{CONTRASTIVE}`", "| `gradient`"]
    assert class_switch.main([*given, "--methods", "gradient"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == lines[-1], "the same pairs every time"
