"""SmoothGrad, integrated gradients and input times gradient against float64 formulas."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, as_model
from seewhy.attribution.methods.integrated_gradients import _gauss_legendre
from seewhy.perturbation.baselines import BASELINES, baseline

MEAN = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)


def smooth_network() -> nn.Module:
    """Return a smooth network, so that sums over a path converge fast."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 6, 3, stride=2), nn.GELU(),
            nn.Flatten(), nn.Linear(6 * 4 * 4, CLASSES),
        ).double()  # fmt: skip


def gradient(model: seewhy.Model, pixels: Tensor, target: list[int]) -> Tensor:
    x = pixels.double().requires_grad_()
    score = model(x).gather(1, torch.tensor(target)[:, None]).sum()
    return torch.autograd.grad(score, x)[0]


def pictures(batch: int = 2, side: int = 12) -> Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize("name", ["mean", "black", "white"])
def test_integrated_gradients_are_a_fine_riemann_sum(name: str):
    model, x = as_model(smooth_network()), pictures().double()
    start = {"mean": MEAN.expand_as(x).double(), "black": 0 * x, "white": 0 * x + 1}[name]
    steps, total = 400, torch.zeros_like(x)
    for k in range(steps):
        total += gradient(model, start + (k + 0.5) / steps * (x - start), [2, 0]) / steps
    e = seewhy.explain(model, x, "integrated-gradients", [2, 0], baseline=name)
    expected = ((x - start) * total).float()
    torch.testing.assert_close(e.attribution, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(e.heatmap, expected.sum(1), rtol=1e-4, atol=1e-6)
    rise = (model(x) - model(start)).detach().gather(1, e.target[:, None])[:, 0]
    torch.testing.assert_close(e.heatmap.sum((1, 2)), rise.float(), rtol=1e-4, atol=1e-5)
    assert e.residual is not None and float(e.residual.max()) < 1e-4


def test_the_residual_is_what_is_missing_from_the_rise():
    case = NETWORKS["batch_norm"]
    model, x = as_model(case.build().double()), case.pixels()
    residuals = {}
    for steps in (1, 4, 256):
        e = seewhy.explain(model, x, "integrated-gradients", steps=steps)
        start = MEAN.expand_as(x)
        rise = (model(x) - model(start)).detach().gather(1, e.target[:, None])[:, 0].float()
        missing = (e.heatmap.sum((1, 2)) - rise).abs() / rise.abs()
        torch.testing.assert_close(e.residual, missing, rtol=1e-2, atol=1e-5)
        residuals[steps] = float(missing.max())
    assert residuals[256] < residuals[1] and residuals[256] < 0.02


def linear_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(9)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, CLASSES))


@pytest.mark.parametrize("method", ["integrated-gradients", "input-x-gradient"])
@pytest.mark.parametrize("name", BASELINES)
def test_a_linear_network_is_shared_out_exactly(method: str, name: str):
    model, x = as_model(linear_network()), pictures()
    e = seewhy.explain(model, x, method, baseline=name)
    start = baseline(name, model, x)
    rise = (model(x) - model(start)).detach().gather(1, e.target[:, None])[:, 0]
    torch.testing.assert_close(e.heatmap.sum((1, 2)), rise, rtol=1e-4, atol=1e-5)


def test_input_x_gradient_at_the_pixels():
    model, x = as_model(smooth_network()), pictures()
    e = seewhy.explain(model, x, "input-x-gradient", [1, 3], baseline="grey")
    expected = (x.double() - 0.5) * gradient(model, x, [1, 3])
    torch.testing.assert_close(e.attribution, expected.float(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("network", "layer"), [("batch_norm", "2"), ("swin_like", "blocks.0"), ("vit", "blocks.0")]
)
def test_input_x_gradient_at_a_layer(network: str, layer: str):
    case = NETWORKS[network]
    net = case.build().double()
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        kept.append(output.clone())
        return kept[-1].clone()  # later operations may modify it in place

    model, x = as_model(net), case.pixels()
    handle = net.get_submodule(layer).register_forward_hook(keep)
    score = model(x.double().requires_grad_())[:, 2].sum()
    (pulled,) = torch.autograd.grad(score, kept[-1:])
    handle.remove()
    product = (kept[-1] * pulled).detach()
    if network == "swin_like":
        product = product.permute(0, 3, 1, 2)
    if network == "vit":
        product = product[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    e = seewhy.explain(model, x, "input-x-gradient", 2, layer=layer)
    torch.testing.assert_close(e.attribution, product.float(), rtol=1e-5, atol=1e-7)
    assert e.provenance.layer == layer


# SmoothGrad


def noisy_inputs(model: seewhy.Model, x: Tensor, **parameters) -> tuple[seewhy.Explanation, Tensor]:
    """Return the explanation of one picture, and the noisy copies that the network received."""
    shown: list[Tensor] = []
    handle = model.net.register_forward_pre_hook(
        lambda module, args: shown.append(args[0].detach().clone())
    )
    e = seewhy.explain(model, x, "smoothgrad", **parameters)
    handle.remove()
    return e, torch.cat(shown)[-parameters["samples"] :]


def test_smoothgrad_is_the_mean_gradient_over_what_the_network_was_shown():
    model, x = seewhy.Model(smooth_network()), pictures(1)
    e, shown = noisy_inputs(model, x, samples=7, noise=0.2, target=2, batch_size=3)
    assert len(shown) == 7 and len({tuple(s.flatten()[:3].tolist()) for s in shown}) == 7
    expected = torch.stack([gradient(model, one[None], [2]) for one in shown]).mean(0)
    torch.testing.assert_close(e.attribution, expected.float(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(e.heatmap, expected.abs().amax(1).float(), rtol=1e-5, atol=1e-7)


def test_the_noise_is_normal_with_the_named_share_of_the_range():
    model, x = seewhy.Model(smooth_network()), pictures(1) / 2 + 0.2
    _, shown = noisy_inputs(model, x, samples=64, noise=0.3, target=0)
    noise = (shown - x) / (0.3 * (x.max() - x.min()))
    count = noise.numel()
    assert abs(float(noise.mean())) < 5 / math.sqrt(count)
    assert abs(float(noise.std()) - 1) < 5 / math.sqrt(2 * count)
    assert abs(float((noise**4).mean()) - 3) < 5 * math.sqrt(96 / count)


def test_smoothgrad_without_noise_is_the_gradient():
    model, x = as_model(smooth_network()), pictures()
    e = seewhy.explain(model, x, "smoothgrad", samples=3, noise=0.0)
    plain = seewhy.explain(model, x, "gradient")
    torch.testing.assert_close(e.attribution, plain.attribution)


# Baselines


def test_baselines():
    model, x = as_model(linear_network()), pictures()
    torch.testing.assert_close(baseline("mean", model, x), MEAN.expand_as(x))
    for name, value in {"black": 0.0, "grey": 0.5, "white": 1.0}.items():
        assert bool((baseline(name, model, x) == value).all())
    blurred = baseline("blur", model, x)
    assert float(blurred.std()) < 0.6 * float(x.std())
    torch.testing.assert_close(blurred.mean((2, 3)), x.mean((2, 3)), rtol=0.1, atol=0.02)
    assert float(blurred.min()) >= 0 and float(blurred.max()) <= 1


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 40), (5, 4), (224, 224)])
def test_any_size_can_be_blurred(size: tuple[int, int]):
    x = torch.rand(1, 3, *size)
    blurred = baseline("blur", as_model(linear_network()), x)
    assert blurred.shape == x.shape and bool(blurred.isfinite().all())


def test_a_flat_picture_stays_as_it_is_when_blurred():
    x = torch.full((1, 3, 30, 20), 0.25)
    torch.testing.assert_close(baseline("blur", as_model(linear_network()), x), x)


@pytest.mark.parametrize("steps", [1, 7, 256, 257, 7500])
def test_nodes_and_weights_integrate_polynomials_in_little_memory(steps: int):
    nodes, weights = _gauss_legendre(steps)
    assert len(nodes) == len(weights) == steps and nodes.min() > 0 and nodes.max() < 1
    for power in range(min(2 * steps, 8)):
        assert float((weights * nodes**power).sum()) == pytest.approx(1 / (power + 1), rel=1e-9)
    if steps <= 256:
        exact, _ = np.polynomial.legendre.leggauss(steps)
        assert torch.equal(nodes, torch.from_numpy((exact + 1) / 2))
