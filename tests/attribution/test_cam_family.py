"""The relatives of Grad-CAM, and FullGrad, against their formulas in float64."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, as_model, raw_batch
from seewhy.attribution.methods.eigen_cam import first_singular_vector
from seewhy.errors import NotApplicable, SeewhyError

GRADIENT_CAMS = ["grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam"]
CAMS = [*GRADIENT_CAMS, "eigen-cam"]

PLACES = [
    ("batch_norm", "5"),
    ("batch_norm", "0"),  # not rectified
    ("residual_in_place", "second"),
    ("hidden_layer", "1"),
    ("odd_size", "5"),
    ("swin_like", "blocks.0"),
    ("convnext_like", "mlp"),
    ("vit", "blocks.0"),
    ("vit", "blocks.1.norm1"),
]


def maps_and_gradients(
    net: nn.Module, layer: str, pixels: Tensor, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's output and the logit's gradient there, [batch, channels, h, w], float64."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        kept.append(output.clone())
        return kept[-1].clone()  # later operations may modify it in place

    handle = net.get_submodule(layer).register_forward_hook(keep)
    logits = as_model(net)(pixels.double().requires_grad_())
    handle.remove()
    pair = kept[-1], torch.autograd.grad(logits[:, target].sum(), kept[-1:])[0]
    if pair[0].ndim == 3:  # tokens: the first one is the class token
        side = int((pair[0].shape[1] - 1) ** 0.5)
        pair = tuple(t[:, 1:].unflatten(1, (side, side)) for t in pair)
    if layer.startswith(("blocks", "norm", "mlp")):
        pair = tuple(t.permute(0, 3, 1, 2) for t in pair)
    return pair[0].detach().numpy(), pair[1].numpy()


# The formulas, one channel at a time: A and g are [h, w].


def grad_cam_plus_plus(A: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Equation 19 of the paper with Y = exp(S), and its equation 5 without the factor exp(S)."""
    weight, total = 0.0, np.maximum(A, 0).sum()
    for at in np.ndindex(*g.shape):
        if g[at] > 0:
            weight += g[at] ** 2 / (2 * g[at] ** 2 + total * g[at] ** 3) * g[at]
    return weight * A


def xgrad_cam(A: np.ndarray, g: np.ndarray) -> np.ndarray:
    total = np.abs(A).sum()
    return A * 0 if total == 0 else (np.abs(A) * g).sum() / total * A


FORMULAS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "grad-cam": lambda A, g: g.mean() * A,
    "grad-cam++": grad_cam_plus_plus,
    "xgrad-cam": xgrad_cam,
    "hires-cam": lambda A, g: g * A,
    "layer-cam": lambda A, g: np.where(g > 0, g * A, 0.0),
}


@pytest.mark.parametrize("method", GRADIENT_CAMS)
@pytest.mark.parametrize(("network", "layer"), PLACES)
def test_gradient_cams_by_hand(method: str, network: str, layer: str):
    case = NETWORKS[network]
    net, pixels = case.build().double(), case.pixels()
    maps, gradients = maps_and_gradients(net, layer, pixels, 3)
    expected = np.stack(
        [
            [FORMULAS[method](A, g) for A, g in zip(*channels, strict=True)]
            for channels in zip(maps, gradients, strict=True)
        ]
    )
    assert expected.any()
    e = seewhy.explain(as_model(net), pixels, method, 3, layer=layer, relu=False)
    tolerance = {"rtol": 1e-4, "atol": 1e-5 * float(np.abs(expected).max())}
    torch.testing.assert_close(e.attribution, torch.tensor(expected).float(), **tolerance)
    rectified = seewhy.explain(as_model(net), pixels, method, 3, layer=layer)
    assert e.signed and not rectified.signed
    heatmap = torch.tensor(expected.sum(1)).float()[:, None]
    for values, found in ((heatmap, e), (heatmap.relu(), rectified)):
        upsampled = F.interpolate(values, case.shape[1:], mode="bilinear")[:, 0]
        torch.testing.assert_close(found.heatmap, upsampled, rtol=1e-4, atol=tolerance["atol"] * 9)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("network", "layer"), PLACES)
def test_eigen_cam_by_hand(network: str, layer: str, centred: bool):
    case = NETWORKS[network]
    net, pixels = case.build().double(), case.pixels()
    e = seewhy.explain(as_model(net), pixels, "eigen-cam", layer=layer, centred=centred)
    for maps, found in zip(maps_and_gradients(net, layer, pixels, 3)[0], e, strict=True):
        places = maps.reshape(len(maps), -1).T
        norms = np.linalg.norm(places, axis=1)
        if centred:
            places = places - places.mean(0)
        projected = places @ np.linalg.svd(places)[2][0]
        projected *= np.sign(projected @ norms)
        expected = torch.tensor(projected.reshape(maps.shape[1:])).float()
        values = found.attribution[0].sum(0)
        torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
        assert float(found.heatmap.min()) >= 0 and float(values.max()) > 0


@pytest.mark.parametrize("shape", [(4, 12, 3, 3), (4, 5, 6, 7), (1, 1, 1, 1)])
def test_the_first_singular_vector(shape: tuple[int, ...]):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(2)).double()
    found = first_singular_vector(maps)
    for one, vector in zip(maps.flatten(2), found, strict=True):
        expected = torch.linalg.svd(one.T).Vh[0]
        assert float(vector.norm()) == pytest.approx(1)
        assert float((vector @ expected).abs()) == pytest.approx(1)


def test_eigen_cam_finds_the_pattern_of_rank_one_and_knows_no_class():
    pattern = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    net = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([3.0, -1.0, 0.5, 0.0]).view(4, 1, 1, 1))
    model = seewhy.Model(net, mean=[0.0], std=[1.0])
    for target in range(4):
        e = seewhy.explain(model, raw_batch(pattern), "eigen-cam", target, layer="0")
        torch.testing.assert_close(e.heatmap, 10.25**0.5 * pattern[:, 0])


# Networks that end in average pooling and one linear layer


@pytest.mark.parametrize("network", ["batch_norm", "odd_size", "swin_like"])
def test_before_pooling_and_a_linear_layer_three_of_them_are_cam(network: str):
    case = NETWORKS[network]
    cam = seewhy.explain(case.model(), case.pixels(), "cam", 1)
    for method in ("grad-cam", "xgrad-cam", "hires-cam"):
        e = seewhy.explain(case.model(), case.pixels(), method, 1, relu=False)
        places = e.attribution[0, 0].numel()
        torch.testing.assert_close(
            places * e.attribution.sum(1), cam.attribution.sum(1), rtol=1e-3, atol=1e-4
        )


def test_hires_cam_before_a_linear_layer_sums_to_the_logit():
    """Unlike Grad-CAM: the linear layer has different weights for each location."""
    case = NETWORKS["view_head"]
    net = case.build()
    model = as_model(net)
    scores = (model(case.pixels())[:, 2] - net.fc.bias[2]).detach()
    hires = seewhy.explain(model, case.pixels(), "hires-cam", 2, layer="relu", relu=False)
    torch.testing.assert_close(hires.attribution.sum((1, 2, 3)), scores, rtol=1e-4, atol=1e-6)
    mean = seewhy.explain(model, case.pixels(), "grad-cam", 2, layer="relu", relu=False)
    assert float((mean.attribution.sum((1, 2, 3)) - scores).abs().min()) > 0.01
    linear = seewhy.explain(model, case.pixels(), "input-x-gradient", 2, layer="relu")
    assert torch.equal(hires.attribution, linear.attribution)


def test_xgrad_cam_conserves_the_sum_of_rectified_maps():
    case = NETWORKS["hidden_layer"]
    x = seewhy.explain(case.model(), case.pixels(), "xgrad-cam", 4, layer="1", relu=False)
    hires = seewhy.explain(case.model(), case.pixels(), "hires-cam", 4, layer="1", relu=False)
    sums = [e.attribution.sum((2, 3)) for e in (x, hires)]
    torch.testing.assert_close(*sums, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("network", ["batch_norm", "hidden_layer", "odd_size", "view_head"])
def test_layer_cam_of_rectified_maps_is_never_negative(network: str, relu: bool):
    case = NETWORKS[network]
    e = seewhy.explain(case.model(), case.pixels(), "layer-cam", 0, relu=relu)
    hires = seewhy.explain(case.model(), case.pixels(), "hires-cam", 0, relu=False)
    assert bool((e.attribution >= 0).all()) and bool((hires.attribution < 0).any())
    assert torch.equal(e.attribution, hires.attribution.relu())


# Edge cases


def dead(classes: int = CLASSES) -> nn.Module:
    """Return a network whose last maps are zero everywhere."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        net[0].bias.fill_(-100)
    return net.append(nn.Linear(4, classes))


@pytest.mark.parametrize("method", [*CAMS, "fullgrad"])
def test_maps_of_zeros_give_a_map_of_zeros(method: str):
    e = seewhy.explain(as_model(dead()), torch.rand(2, 3, 12, 12), method)
    assert torch.equal(e.heatmap, torch.zeros(2, 12, 12))
    assert not bool(e.attribution.any())


def test_centred_maps_without_a_pattern_are_zero():
    """A uniform picture gives one value per channel, which equals the mean."""
    case = NETWORKS["grey"]
    pixels = torch.full((1, 1, 24, 24), 0.7)
    flat = seewhy.explain(case.model(), pixels, "eigen-cam", centred=True)
    assert float(flat.heatmap.max()) < 1e-5
    assert float(seewhy.explain(case.model(), pixels, "eigen-cam").heatmap.min()) > 0.1


@pytest.mark.parametrize("method", CAMS)
def test_where_no_layer_has_rows_and_columns(method: str):
    case = NETWORKS["perceptron"]
    with pytest.raises(NotApplicable, match="keeps the picture's rows and columns"):
        seewhy.explain(case.model(), case.pixels(), method)
    with pytest.raises(SeewhyError, match="no rows and columns"):
        seewhy.explain(case.model(), case.pixels(), method, layer="1")


# FullGrad

PIECEWISE_LINEAR = [
    "in_place_relu", "functional_relu", "reused_relu", "batch_norm", "residual_in_place",
    "concatenation", "dilated", "grouped", "pools", "parametrised", "checkpointed", "view_head",
    "hidden_layer", "class_maps", "perceptron", "no_modules", "odd_size", "dropout", "double",
]  # fmt: skip


@contextmanager
def bias_terms(net: nn.Module) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect (output for zeros, output) of each call of each affine module."""
    found: list[tuple[Tensor, Tensor]] = []
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)

    def note(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        with torch.no_grad():
            of_zeros = module.forward(torch.zeros_like(args[0]))
        found.append((of_zeros, output.clone()))
        return found[-1][1].clone()

    affine = [m for m in net.modules() if isinstance(m, kinds)]
    handles = [m.register_forward_hook(note) for m in affine]
    yield found
    for handle in handles:
        handle.remove()


def full_gradient(
    net: nn.Module, pixels: Tensor, target: int
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Return x * d logit / d x, the list of b * d logit / d y, and the logit, in float64."""
    mean = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
    std = torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1)
    x = ((pixels - mean) / std).double().requires_grad_()
    with bias_terms(net) as terms:
        score = net(x)[:, target]
    outputs = [output for _, output in terms]
    pulled = torch.autograd.grad(score.sum(), [x, *outputs], materialize_grads=True)
    shares = [b * g for (b, _), g in zip(terms, pulled[1:], strict=True)]
    return (x * pulled[0]).detach(), shares, score.detach()


def psi(shares: Tensor, size: tuple[int, int], together: bool) -> Tensor:
    """Map [channels, h, w] to [height, width]: absolute, scaled to [0, 1], up-sampled, summed."""
    total = torch.zeros(size).double()
    everything = shares.abs()
    for channel in everything:
        scale = everything if together else channel
        low, high = scale.min(), scale.max()
        if high > low:
            scaled = (channel - low) / (high - low)
            total += F.interpolate(scaled[None, None], size, mode="bilinear")[0, 0]
    return total


@pytest.mark.parametrize("rescale", ["layer", "channel"])
@pytest.mark.parametrize("network", ["residual_in_place", "reused_relu", "hidden_layer", "pools"])
def test_fullgrad_by_hand(network: str, rescale: str):
    case = NETWORKS[network]
    net, pixels = case.build().double(), case.pixels()
    of_pixels, of_biases, score = full_gradient(net, pixels, 3)
    sums = sum(term.flatten(1).sum(1) for term in [of_pixels, *of_biases])
    torch.testing.assert_close(sums, score)  # the reference itself is complete
    e = seewhy.explain(as_model(net), pixels, "fullgrad", 3, rescale=rescale)
    for i, found in enumerate(e):
        size, together = case.shape[1:], rescale == "layer"
        parts = [
            psi(of_pixels[i], size, together),
            sum(psi(term[i], size, together) for term in of_biases if term.ndim == 4),
        ]
        expected = torch.stack(parts).float()
        torch.testing.assert_close(found.attribution[0], expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.heatmap[0], expected.sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", PIECEWISE_LINEAR)
def test_fullgrad_is_complete_where_the_network_is_piecewise_linear(network: str):
    case = NETWORKS[network]
    e = seewhy.explain(case.model(), case.pixels(), "fullgrad", [0, 4, 2])
    assert e.residual is not None and float(e.residual.max()) < 1e-4


@pytest.mark.parametrize("network", [name for name in NETWORKS if name not in PIECEWISE_LINEAR])
def test_fullgrad_is_complete_elsewhere_or_refused(network: str):
    """Attention, gates, smooth activations, layer normalisation, hooks of the user's."""
    case = NETWORKS[network]
    try:
        e = seewhy.explain(case.model(), case.pixels(), "fullgrad", [0, 4, 2])
    except NotApplicable as refusal:
        assert "no rule" in str(refusal) or "TorchScript" in str(refusal)
        return
    assert e.residual is not None and float(e.residual.max()) < 1e-3


class FusedNorm(nn.BatchNorm2d):
    """A batch normalisation with its activation inside: what it puts out for zeros is no bias."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class Written(nn.Module):
    """Biases that no module has: of a function, of a fused norm, of a token, of a gate."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.bias, self.token = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(1, 1, 4))
        self.norm, self.fc = FusedNorm(4), nn.Linear(4, CLASSES)
        nn.init.normal_(self.norm.bias)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.conv2d(x, self.weight, self.bias))
        x = (x * x.mean((2, 3), keepdim=True).sigmoid()).flatten(2).transpose(1, 2)
        x = F.layer_norm(torch.cat([self.token.expand(len(x), -1, -1), x], 1), [4])
        return self.fc(F.scaled_dot_product_attention(x, F.gelu(x), x)[:, 0])


@pytest.mark.parametrize("target", [1, seewhy.difference(0, 2)], ids=str)
def test_fullgrad_finds_biases_that_no_module_has(target):
    net = Written().double()
    e = seewhy.explain(as_model(net), torch.rand(2, 3, 10, 10), "fullgrad", target)
    assert e.residual is not None and float(e.residual.max()) < 1e-6


def test_the_map_of_fullgrad_shows_where_a_fused_norm_adds():
    """The same network with the activation as a layer of its own has the same map."""

    def network(*norm: nn.Module) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            parts = nn.Conv2d(3, 4, 3), *norm, nn.Flatten(), nn.Linear(4 * 64, CLASSES)
        return nn.Sequential(*parts)

    fused, plain = FusedNorm(4), nn.BatchNorm2d(4)
    nn.init.normal_(fused.bias)
    plain.load_state_dict(fused.state_dict())
    pixels = torch.rand(2, 3, 10, 10)
    one = seewhy.explain(as_model(network(fused)), pixels, "fullgrad", 1)
    other = seewhy.explain(as_model(network(plain, nn.ReLU())), pixels, "fullgrad", 1)
    assert one.attribution[:, 1].any()
    torch.testing.assert_close(one.attribution, other.attribution)


def test_fullgrad_counts_every_call_of_a_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(self.conv(x).relu()).relu().mean((2, 3)))

    e = seewhy.explain(as_model(Twice()), torch.rand(2, 3, 10, 10), "fullgrad")
    assert e.residual is not None and float(e.residual.max()) < 1e-4
    assert (e.cost.forwards, e.cost.backwards) == (1, 1)


def test_fullgrad_leaves_out_layers_that_the_score_does_not_depend_on():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.aside = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return self.fc(self.conv(x).relu().mean((2, 3)))

    e = seewhy.explain(as_model(Aside()), torch.rand(2, 3, 10, 10), "fullgrad")
    assert e.residual is not None and float(e.residual.max()) < 1e-4


def test_fullgrad_refuses_another_scaling():
    with pytest.raises(SeewhyError, match="'layer' or 'channel', not 'picture'"):
        seewhy.explain(as_model(dead()), torch.rand(1, 3, 12, 12), "fullgrad", rescale="picture")
