"""CAM and Grad-CAM against their formulas, in float64."""

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, Body, as_model
from seewhy.errors import NotApplicable, SeewhyError


def activations(net: nn.Module, layer: str, pixels: Tensor) -> Tensor:
    return seewhy.capture(as_model(net), pixels, [layer])[layer]


@pytest.mark.parametrize(
    ("network", "layer", "fc"),
    [("batch_norm", "5", "6.2"), ("residual_in_place", "relu", "fc"), ("odd_size", "5", "6.2")],
)
def test_cam_is_the_logit_place_by_place(network: str, layer: str, fc: str):
    case = NETWORKS[network]
    net, pixels = case.build().double(), case.pixels()
    e = seewhy.explain(as_model(net), pixels, "cam", [0, 4, 2])
    weight, bias = net.get_submodule(fc).weight, net.get_submodule(fc).bias
    maps = activations(net, layer, pixels)
    shares = (weight[[0, 4, 2], :, None, None] * maps).detach()
    torch.testing.assert_close(e.attribution, shares.float(), rtol=1e-5, atol=1e-6)
    logit = e.attribution.sum(1).mean((1, 2)) + bias[[0, 4, 2]].detach()
    scores = e.logits.gather(1, e.target[:, None])[:, 0]
    torch.testing.assert_close(logit.float(), scores, rtol=1e-4, atol=1e-5)
    assert e.provenance.layer == layer and e.residual is not None
    assert float(e.residual.max()) < 1e-3


def test_cam_rectifies_where_the_network_does_it_outside_any_module():
    case = NETWORKS["functional_relu"]
    net, pixels = case.build(), case.pixels()
    e = seewhy.explain(as_model(net), pixels, "cam", 1)
    maps = activations(net, "second", pixels).relu()
    torch.testing.assert_close(e.attribution, net.fc.weight.detach()[1].view(1, -1, 1, 1) * maps)


def test_cam_of_class_maps_is_the_map_of_the_class():
    case = NETWORKS["class_maps"]
    net, pixels = case.build(), case.pixels()
    e = seewhy.explain(as_model(net), pixels, "cam", [3, 1, 0])
    maps = activations(net, "4", pixels)
    torch.testing.assert_close(e.attribution[:, 0], maps[torch.arange(3), torch.tensor([3, 1, 0])])


def test_cam_on_channels_last_maps():
    case = NETWORKS["swin_like"]
    net, pixels = case.build(), case.pixels()
    e = seewhy.explain(as_model(net), pixels, "cam", 2)
    maps = activations(net, "norm", pixels)
    expected = (maps @ net.fc.weight.detach()[2])[:, None]
    torch.testing.assert_close(e.attribution.sum(1, keepdim=True), expected, rtol=1e-4, atol=1e-5)


def test_cam_at_a_layer_that_is_not_averaged_is_refused():
    case = NETWORKS["batch_norm"]
    with pytest.raises(NotApplicable, match="global average pooling"):
        seewhy.explain(case.model(), case.pixels(), "cam", layer="2")
    with pytest.raises(SeewhyError, match="no rows and columns"):
        seewhy.explain(case.model(), case.pixels(), "cam", layer="6.2")


@pytest.mark.parametrize("network", ["batch_norm", "residual_in_place", "class_maps", "swin_like"])
def test_cam_in_bfloat16(network: str):
    case = NETWORKS[network]
    e = seewhy.explain(case.model(), case.pixels(), "cam", precision="fast")
    assert e.provenance.precision == "fast"


def grad_cam_by_hand(net: nn.Module, layer: str, pixels: Tensor, target: int) -> Tensor:
    """Return the sum over k of mean(d logit / d A_k) * A_k, before the ReLU."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        kept.append(output.clone())
        return kept[-1].clone()  # later operations may modify it in place

    handle = net.get_submodule(layer).register_forward_hook(keep)
    logits = as_model(net)(pixels.double().requires_grad_())
    handle.remove()
    (pulled,) = torch.autograd.grad(logits[:, target].sum(), kept[-1:])
    if pulled.ndim == 3:  # tokens: the first one is the class token
        side = int((pulled.shape[1] - 1) ** 0.5)
        a, g = (t[:, 1:].unflatten(1, (side, side)) for t in (kept[-1], pulled))
    else:
        a, g = kept[-1], pulled
    last = layer.startswith(("blocks", "norm", "mlp"))
    places, channels = ((1, 2), 3) if last else ((2, 3), 1)
    return (g.mean(places, keepdim=True) * a).sum(channels).detach().float()


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        ("batch_norm", "5"),
        ("batch_norm", "0"),
        ("residual_in_place", "second"),
        ("hidden_layer", "1"),
        ("odd_size", "5"),
        ("swin_like", "blocks.0"),
        ("swin_like", "norm"),
        ("convnext_like", "mlp"),
        ("vit", "blocks.0"),
        ("vit", "blocks.1.norm1"),
    ],
)
def test_grad_cam_by_hand(network: str, layer: str):
    case = NETWORKS[network]
    net, pixels = case.build().double(), case.pixels()
    expected = grad_cam_by_hand(net, layer, pixels, 3)
    assert bool(expected.any())
    e = seewhy.explain(as_model(net), pixels, "grad-cam", 3, layer=layer, relu=False)
    torch.testing.assert_close(e.attribution.sum(1), expected, rtol=1e-4, atol=1e-7)
    rectified = seewhy.explain(as_model(net), pixels, "grad-cam", 3, layer=layer)
    assert not rectified.signed and float(rectified.heatmap.min()) >= 0
    torch.testing.assert_close(rectified.attribution, e.attribution)


def test_grad_cam_where_pooling_is_linear_is_cam():
    """They differ only by a factor, the number of locations (Selvaraju et al., section 3)."""
    case = NETWORKS["batch_norm"]
    cam = seewhy.explain(case.model(), case.pixels(), "cam", 1)
    grad_cam = seewhy.explain(case.model(), case.pixels(), "grad-cam", 1, relu=False)
    places = cam.attribution[0, 0].numel()
    torch.testing.assert_close(places * grad_cam.attribution, cam.attribution, rtol=1e-3, atol=1e-5)


def test_grad_cam_at_one_call_of_a_reused_layer():
    net, pixels = Body().eval(), torch.rand(2, 3, 16, 16)
    first = seewhy.explain(net, pixels, "grad-cam", 0, layer="relu#0", relu=False)
    last = seewhy.explain(net, pixels, "grad-cam", 0, layer="relu", relu=False)
    assert first.attribution.shape == (2, 6, 16, 16)
    assert last.attribution.shape == (2, 8, 8, 8)
