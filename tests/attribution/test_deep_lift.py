"""DeepLIFT: completeness on every architecture, and exact values on small networks."""

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, Body, as_model
from seewhy.attribution.methods.deep_lift import DeepLift
from seewhy.errors import NotApplicable
from seewhy.perturbation.baselines import baseline
from seewhy.targets.terms import difference

MEAN = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1).double()
STD = torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1).double()


def pictures(batch: int = 2, side: int = 12) -> Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(8)).double()


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return make().eval()


# Exact values


def dense() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 16, 10), nn.ReLU(), nn.Linear(10, 8), nn.Tanh(),
        nn.Linear(8, CLASSES), nn.Sigmoid(),
    ).double()  # fmt: skip


@pytest.mark.parametrize("name", ["mean", "black", "white"])
def test_three_layers_by_hand(name: str):
    """The multipliers of each activation function are a diagonal matrix between the weights."""
    net, x = seeded(dense), pictures(side=4)
    x0 = {"mean": MEAN.expand_as(x), "black": 0 * x, "white": 0 * x + 1}[name]
    target = [2, 0]
    model = seewhy.Model(
        net, mean=MEAN.flatten().tolist(), std=STD.flatten().tolist(), outputs="probabilities"
    )
    e = seewhy.explain(model, x, "deep-lift", target, baseline=name)
    for picture in range(2):
        a, a0 = (((t - MEAN) / STD)[picture].flatten() for t in (x, x0))
        product = torch.eye(48, dtype=torch.float64)
        for linear, function in (
            (net[1], torch.relu),
            (net[3], torch.tanh),
            (net[5], torch.sigmoid),
        ):
            z, z0 = linear(a), linear(a0)
            a, a0 = function(z), function(z0)
            product = torch.diag((a - a0) / (z - z0)) @ linear.weight @ product
        contributions = product[target[picture]].view(3, 4, 4) * ((x - x0) / STD)[picture]
        expected = contributions.detach().float()
        torch.testing.assert_close(e.attribution[picture], expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(e.heatmap[picture], expected.sum(0), rtol=1e-5, atol=1e-7)


def test_without_a_rectifier_in_between_it_is_input_times_gradient():
    net = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(100, 5))
    )
    both = seewhy.compare(as_model(net), pictures().float(), ["deep-lift", "input-x-gradient"], 1)
    a, b = (e.attribution for e in both)
    torch.testing.assert_close(a, b)


# Completeness


def calibrated(net: nn.Module, pixels: Tensor) -> nn.Module:
    """Give batch normalisations statistics close to those of the pictures, and random affines."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.train()
    if norms:
        with torch.no_grad():
            net(pixels)
    for norm in norms:
        norm.eval()
        norm.running_mean += 0.2 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 1.5)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0.0, 0.2)
    return net


def torchvision(name: str, **options) -> Callable[[], nn.Module]:
    import torchvision.models as models

    return lambda: getattr(models, name)(num_classes=10, **options)


def timm(name: str, **options) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        return pytest.importorskip("timm").create_model(name, num_classes=10, **options)

    return make


ARCHITECTURES = {
    "squeezenet": (torchvision("squeezenet1_1"), 48),
    "resnet50": (torchvision("resnet50"), 40),
    "densenet121": (torchvision("densenet121"), 40),
    "googlenet": (torchvision("googlenet", aux_logits=False, init_weights=False), 40),
    "efficientnet_b0": (torchvision("efficientnet_b0"), 40),
    "convnext_tiny": (torchvision("convnext_tiny"), 40),
    "swin_v2_t": (torchvision("swin_v2_t"), 32),
    "vit_small": (timm("vit_small_patch16_224", img_size=48), 48),
    "swin_tiny": (timm("swin_tiny_patch4_window7_224", img_size=56), 56),
}


# Pools, concatenation, attention; tests/differential has families of timm.
QUICK = ("squeezenet", "googlenet", "swin_tiny")

ALL = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in ARCHITECTURES
]


@pytest.mark.parametrize("name", ALL)
def test_the_contributions_add_up_to_the_rise(name: str):
    make, side = ARCHITECTURES[name]
    x = pictures(1, side)
    net = seeded(lambda: calibrated(make().eval(), (pictures(4, side).float() - 0.5) / 0.25))
    for dtype, tolerance in ((torch.float32, 1e-3), (torch.float64, 1e-6)):
        model = as_model(net.to(dtype))
        e = seewhy.explain(model, x, "deep-lift")
        rises = (model(x) - model(baseline("mean", model, x))).detach()
        rise = rises.gather(1, e.target[:, None])[:, 0]
        assert float(rise.abs()) > 1e-4
        assert e.residual is not None and float(e.residual) < tolerance
        total = e.heatmap.double().sum((1, 2))
        torch.testing.assert_close(total, rise.double(), rtol=tolerance + 1e-5, atol=1e-6)


class Everything(Body):
    """A network with one of each operation that has a rule."""

    def __init__(self):
        super().__init__()
        self.prelu, self.norm = nn.PReLU(8), nn.GroupNorm(2, 8)
        self.gate = nn.Linear(8, 8)

    def features(self, x: Tensor) -> Tensor:
        x = self.prelu(self.norm(super().features(x)))
        x = F.max_pool2d(x, 3, 2, padding=1) * torch.sigmoid(x.amax((2, 3), keepdim=True))
        x = x / (x.abs().mean(1, keepdim=True) + 0.1)
        tokens = F.normalize(x.flatten(2).mT, dim=-1)
        x = x + torch.einsum("bij,bjc->bci", (tokens @ tokens.mT).softmax(-1), tokens).view_as(x)
        return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-3).sqrt()

    def decide(self, x: Tensor) -> Tensor:
        x = super().decide(F.glu(torch.cat([x, self.gate(x.mT).mT], 1), 1).repeat(1, 2, 1, 1)
                           if x.shape[2] == 8 else x)  # fmt: skip
        return F.log_softmax(x, 1)


@pytest.mark.parametrize("name", ["mean", "black", "blur"])
def test_one_of_each(name: str):
    model, x = as_model(seeded(Everything).double()), pictures(3, 24)
    e = seewhy.explain(model, x, "deep-lift", baseline=name)
    assert float(e.residual.max()) < 1e-10
    rise = (model(x) - model(baseline(name, model, x))).detach().gather(1, e.target[:, None])[:, 0]
    torch.testing.assert_close(e.heatmap.sum((1, 2)), rise.float(), rtol=1e-4, atol=1e-6)


def test_the_residual_is_what_is_missing():
    """A function that torch does not know: no rule can see it."""

    class Squared(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, *cotangents: Tensor) -> Tensor:
            return 2 * ctx.saved_tensors[0] * cotangents[0]

    class Stepping(Body):
        def features(self, x: Tensor) -> Tensor:
            return Squared.apply(super().features(x))

    model, x = as_model(seeded(Stepping)), pictures().float()
    e = seewhy.explain(model, x, "deep-lift", seewhy.each(difference(0, 2), difference(2, 0)))
    rises = (model(x) - model(baseline("mean", model, x))).detach()
    rise = torch.cat([rises[:, 0] - rises[:, 2], rises[:, 2] - rises[:, 0]])
    excess = e.heatmap.sum((1, 2)) - rise
    assert float(excess.min()) < 0 < float(excess.max()), "too little and too much both count"
    missing = excess.abs() / rise.abs()
    assert float(missing.min()) > 1e-3
    torch.testing.assert_close(e.residual, missing, rtol=1e-3, atol=1e-5)


# Targets, layers, baselines


def test_the_cost_is_one_reference_picture():
    case = NETWORKS["batch_norm"]
    for name, forwards in (("mean", 1 + 1 / 4), ("white", 1 + 1 / 4), ("blur", 2)):
        e = seewhy.explain(case.model(), case.pixels(4), "deep-lift", baseline=name)
        assert (e.cost.forwards, e.cost.backwards) == (forwards, 1)


@pytest.mark.parametrize("name", ["mean", "blur"])
@pytest.mark.parametrize("network", ["residual", "pools", "vit", "swin_like"])
def test_targets_of_other_kinds_add_up_too(network: str, name: str):
    """The difference of two logits, and a hidden unit, different for each picture."""
    case = NETWORKS[network]
    layer = {"residual": "second", "pools": "3", "vit": "blocks.0", "swin_like": "blocks.0"}[
        network
    ]
    model, x = as_model(case.build().double()), case.pixels().double()
    targets = [difference(0, 3), f"{layer}:2", 4]
    e = seewhy.explain(model, x, "deep-lift", targets, baseline=name)
    assert float(e.residual.max()) < 1e-6 and bool(e.heatmap.flatten(1).any(1).all())
    start = baseline(name, model, x)
    with torch.no_grad():
        logits, at_start = model(x).float(), model(start).float()
    rises = logits - at_start
    at_unit = [seewhy.explain(model, p[1:2], "gradient", targets[1]).score for p in (x, start)]
    expected = [rises[0, 0] - rises[0, 3], (at_unit[0] - at_unit[1])[0], rises[2, 4]]
    total = e.heatmap.sum((1, 2))
    torch.testing.assert_close(total, torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        ("batch_norm", "2"),
        ("in_place_relu", "0"),
        ("swin_like", "blocks.0"),
        ("reused_relu", "relu#0"),
    ],
)
def test_at_a_layer_that_everything_passes(network: str, layer: str):
    case = NETWORKS[network]
    model, x = as_model(case.build().double()), case.pixels().double()
    start = baseline("black", model, x)
    rise = (model(x) - model(start))[:, 1].detach()
    e = seewhy.explain(model, x, "deep-lift", 1, baseline="black", layer=layer)
    assert e.provenance.layer == layer and e.residual is None
    torch.testing.assert_close(e.attribution.double().sum((1, 2, 3)), rise, rtol=1e-5, atol=1e-6)
    beside = seewhy.compare(model, x, [DeepLift("black", layer), "grad-cam", "gradient"], 1)
    torch.testing.assert_close(beside.explanations[0].attribution, e.attribution)


def test_a_channel_of_a_layer():
    case = NETWORKS["batch_norm"]
    whole = seewhy.explain(case.model(), case.pixels(), "deep-lift", 1, layer="2")
    one = seewhy.explain(case.model(), case.pixels(), "deep-lift", 1, layer="2:4")
    assert torch.equal(one.attribution[:, 0], whole.attribution[:, 4])


def test_a_panel_with_several_references_and_questions():
    case = NETWORKS["residual_in_place"]
    model, x = case.model(), case.pixels()
    names = ["mean", "black", "blur"]
    panel = seewhy.compare(model, x, [DeepLift(name) for name in names])
    for e, name in zip(panel.explanations, names, strict=True):
        alone = seewhy.explain(model, x, "deep-lift", baseline=name)
        torch.testing.assert_close(e.attribution, alone.attribution)
    assert not torch.equal(panel.explanations[0].heatmap, panel.explanations[1].heatmap)
    several = seewhy.explain(model, x, "deep-lift", seewhy.each(1, 3))
    for k, target in enumerate((1, 3)):
        alone = seewhy.explain(model, x, "deep-lift", target)
        torch.testing.assert_close(several.heatmap[3 * k : 3 * k + 3], alone.heatmap)


def test_a_picture_that_is_its_reference_has_contributions_of_zero():
    model = NETWORKS["pools"].model()
    e = seewhy.explain(model, torch.full((1, 3, 24, 24), 0.5), "deep-lift", baseline="grey")
    assert not e.heatmap.any() and float(e.residual) == 0


# Networks that other implementations fail on


class Apart(nn.Module):
    """The same function as `Body`, with a separate ReLU module for each use."""

    def __init__(self, body: Body):
        super().__init__()
        self.body, self.relu1, self.relu2 = body, nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.body.second(self.relu1(self.body.first(x))))
        return self.body.decide(x)


@pytest.mark.parametrize(
    "network", ["reused_relu", "functional_relu", "rectifier_without_its_result"]
)
def test_reused_and_in_place_rectifiers(network: str):
    case = NETWORKS[network]
    apart = as_model(Apart(NETWORKS["reused_relu"].build()))
    expected = seewhy.explain(apart, case.pixels(), "deep-lift").attribution
    found = seewhy.explain(case.model(), case.pixels(), "deep-lift").attribution
    torch.testing.assert_close(found, expected)


class Added(Body):
    """Adds the output of its first layer and the rectified output."""

    def features(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return F.relu(self.second(x + F.relu(x)))


class AddedInPlace(Body):
    """The same, but in place: the ReLU's input is overwritten."""

    def features(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x.add_(F.relu(x))
        return F.relu(self.second(x))


def test_what_a_rectifier_has_read_may_be_overwritten():
    pixels = pictures().float()
    found, expected = (
        seewhy.explain(as_model(seeded(net)), pixels, "deep-lift", 1)
        for net in (AddedInPlace, Added)
    )
    torch.testing.assert_close(found.attribution, expected.attribution)
    assert float(found.residual.max()) < 1e-4


class OneByOne(Body):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(OneByOne, self).forward(one[None]) for one in x])


class Choosing(Body):
    """A network that runs other operations for bright pictures."""

    def decide(self, x: Tensor) -> Tensor:
        return super().decide(F.gelu(x) if float(x.detach().mean()) > self.border else x)


def test_a_network_that_runs_pictures_one_by_one():
    model, x = as_model(seeded(OneByOne)), pictures().float()
    with pytest.raises(NotApplicable, match="one picture at a time"):
        seewhy.explain(model, x, "deep-lift")
    assert float(seewhy.explain(model, x[:1], "deep-lift").residual) < 1e-4
    assert float(seewhy.explain(model, x, "deep-lift", baseline="blur").residual.max()) < 1e-4


@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_a_network_that_decides_what_to_run(baseline: str):
    model, x = as_model(seeded(Choosing)), pictures(1).float()
    model.net.border = 0.0
    assert float(seewhy.explain(model, x, "deep-lift", baseline=baseline).residual) < 1e-4
    levels = [float(model.net.features(t).mean().detach()) for t in _normalised(model, x, baseline)]
    model.net.border = sum(levels) / 2
    with pytest.raises(NotApplicable, match="different operations on the reference"):
        seewhy.explain(model, x, "deep-lift", baseline=baseline)


def _normalised(model: seewhy.Model, x: Tensor, name: str) -> list[Tensor]:
    return [((t - MEAN) / STD).float() for t in (x, baseline(name, model, x))]


@pytest.mark.parametrize("network", ["squeeze_and_excite", "pools", "residual_in_place"])
def test_exported_networks(network: str):
    """Exported graphs have other names for the same operations."""
    case = NETWORKS[network]
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(case.build(), (case.pixels(),), dynamic_shapes=shapes).module()
    e = seewhy.explain(as_model(exported), case.pixels(), "deep-lift")
    expected = seewhy.explain(case.model(), case.pixels(), "deep-lift").attribution
    assert float(e.residual.max()) < 1e-4
    torch.testing.assert_close(e.attribution, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused():
    net = torch.jit.trace(NETWORKS["in_place_relu"].build(), torch.zeros(1, 3, 12, 12))
    with pytest.raises(NotApplicable, match="TorchScript"):
        seewhy.explain(as_model(nn.Sequential(net)), pictures().float(), "deep-lift")


def test_the_reference_is_let_go(monkeypatch: pytest.MonkeyPatch):
    """Without the garbage collector, since there are no reference cycles."""
    from seewhy.attribution.methods import deep_lift
    from seewhy.autodiff import tape

    kept: list[weakref.ref] = []
    record = tape.Tape.record

    def noted(self, *args):
        operation = record(self, *args)
        kept.append(weakref.ref(operation))
        return operation

    monkeypatch.setattr(deep_lift.Tape, "record", noted)
    case = NETWORKS["vit"]
    model, x = case.model(), case.pixels()
    gc.collect()
    gc.disable()
    try:
        seewhy.explain(model, x, "deep-lift")
        assert len(kept) > 20
        assert not any(ref() for ref in kept)
    finally:
        gc.enable()
