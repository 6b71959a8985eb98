"""Attention rollout and gradient rollout against loops in float64."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, as_model
from seewhy.errors import NotApplicable, SeewhyError, Unknown
from seewhy.scenes import render, sample
from vits import (
    TARGET,
    TRANSFORMERS,
    Layer,
    Transformer,
    as_double,
    assert_map,
    attention_by_loops,
    by_hand,
    chunked,
    transformer,
)

METHODS = ["attention-rollout", "gradient-rollout"]

each_method = pytest.mark.parametrize("method", METHODS)
each_transformer = pytest.mark.parametrize("name", TRANSFORMERS)


def rollout(layers: list[tuple[Tensor, Tensor]], fused: Callable, discard: float) -> Tensor:
    """Return the product of one picture's attention [heads, tokens, tokens] over all layers."""
    count = layers[0][0].shape[-1]
    product = np.eye(count)
    for attention, _ in layers:
        heads = attention.numpy()
        mixed = np.zeros((count, count))
        for i in range(count):
            for j in range(count):
                mixed[i, j] = fused(heads[:, i, j])
        weakest = sorted(mixed.flatten())[: int(discard * count * count)]
        for i in range(count):
            for j in range(count):
                kept = mixed[i, j] > weakest[-1] if weakest else True
                mixed[i, j] = 0.5 * mixed[i, j] * kept + 0.5 * (i == j)
        product = (mixed / mixed.sum(1, keepdims=True)) @ product
    return torch.tensor(product)


def gradient_rollout(layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Apply R <- R + A' R over all layers, for one picture."""
    R = np.eye(layers[0][0].shape[-1])
    for attention, gradient in layers:
        weighted = np.maximum(attention.numpy() * gradient.numpy(), 0).mean(0)
        R = R + weighted @ R
    return torch.tensor(R)


def expected(case: Transformer, method: str, fused: Callable = np.mean, discard=0.0) -> Tensor:
    """Return the expected attribution, [batch, 1, h, w]."""
    maps = []
    _, layers = by_hand(case)
    for b in range(2):
        one = [(a[b], g[b]) for a, g in layers]
        R = rollout(one, fused, discard) if method == METHODS[0] else gradient_rollout(one)
        row = R[list(case.read)].mean(0)[case.prefix :]
        side = math.isqrt(len(row))
        assert side * side == len(row)
        maps.append(row.view(1, side, side))
    return torch.stack(maps)


@each_transformer
@each_method
def test_maps_by_hand(name: str, method: str):
    case = transformer(name)
    e = seewhy.explain(as_model(case.net), case.pixels(), method, TARGET)
    wanted = expected(case, method)
    assert_map(e.attribution, wanted)
    upsampled = F.interpolate(wanted.float(), case.shape[1:], mode="bilinear")[:, 0]
    assert_map(e.heatmap, upsampled)
    assert not e.signed and e.residual is None
    assert (e.cost.forwards, e.cost.backwards) == (1, 1)


@each_method
def test_one_picture_or_several(method: str):
    case = transformer("torchvision")
    model, pixels = as_model(case.net), case.pixels()
    both = seewhy.explain(model, pixels, method, TARGET).attribution
    for i in range(2):
        alone = seewhy.explain(model, pixels[i : i + 1], method, TARGET).attribution
        assert_map(alone, both[i : i + 1])


def test_only_the_gradient_rollout_knows_the_class():
    case = transformer("torchvision")
    model, pixels = as_model(case.net), case.pixels()
    for method, same in zip(METHODS, (True, False), strict=True):
        one, other = (seewhy.explain(model, pixels, method, t).attribution for t in (1, 2))
        assert torch.equal(one, other) == same


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.3, 0.9])
def test_fusion_of_heads_and_discarding(fusion: str, discard: float):
    case = transformer("timm fused")
    e = seewhy.explain(
        as_model(case.net), case.pixels(), "attention-rollout", fusion=fusion, discard=discard
    )
    fused = {"mean": np.mean, "max": np.max, "min": np.min}[fusion]
    assert_map(e.attribution, expected(case, "attention-rollout", fused, discard))


def test_hyperparameters_that_make_no_sense():
    case = NETWORKS["vit"]
    with pytest.raises(Unknown, match="unknown fusion 'median'"):
        seewhy.explain(case.model(), case.pixels(), "attention-rollout", fusion="median")
    for discard in (-0.1, 1.0):
        with pytest.raises(SeewhyError, match="discard must be in"):
            seewhy.explain(case.model(), case.pixels(), "attention-rollout", discard=discard)


@each_method
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_the_torch_encoder(method: str, batch_first: bool, need_weights: bool):
    """With tokens or batch first, and with or without returned attention weights."""

    class Wordy(nn.MultiheadAttention):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **(kwargs | {"need_weights": need_weights}))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(3)
            self.patches, self.fc = nn.Conv2d(3, 8, 6, 6), nn.Linear(8, CLASSES)
            layers = [nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first) for _ in "ab"]
            for layer in layers:
                layer.self_attn.__class__ = Wordy
            self.layers = nn.Sequential(*layers)

        def forward(self, x: Tensor) -> Tensor:
            x = self.patches(x).flatten(2)
            x = self.layers(x.permute(0, 2, 1) if batch_first else x.permute(2, 0, 1))
            return self.fc(x.mean(1 if batch_first else 0))

    net, pixels = Encoder().eval(), NETWORKS["vit"].pixels()
    double = as_double(net)

    def mlp(block: nn.Module) -> nn.Module:
        return nn.Sequential(block.linear1, nn.ReLU(), block.linear2)

    layers = [
        Layer(
            2, chunked(b.self_attn.in_proj_weight, b.self_attn.in_proj_bias),
            b.self_attn.out_proj, (b.norm1, b.norm2), mlp(b),
        )
        for b in double.layers
    ]  # fmt: skip
    x, found = double.patches(pixels.double()).flatten(2).transpose(1, 2), []
    for layer in layers:  # post-norm
        query, key, value = (F.linear(x, w, b) for w, b in layer.qkv)
        found.append(attention_by_loops(query, key, 2))
        gathered = found[-1] @ value.unflatten(2, (2, -1)).transpose(1, 2)
        x = layer.norms[0](x + layer.output(gathered.transpose(1, 2).flatten(2)))
        x = layer.norms[1](x + layer.mlp(x))
    gradients = torch.autograd.grad(double.fc(x.mean(1))[:, TARGET].sum(), found)
    e = seewhy.explain(seewhy.Model(net), pixels, method, TARGET)
    for b, values in enumerate(e.attribution):
        one = [(a[b].detach(), g[b]) for a, g in zip(found, gradients, strict=True)]
        R = rollout(one, np.mean, 0.0) if method == METHODS[0] else gradient_rollout(one)
        assert_map(values, R.mean(0).view(1, 4, 4))


@each_method
def test_an_exported_network(method: str):
    """The exported graph has another name for the fused attention."""
    case = transformer("torchvision")
    pixels = case.pixels()

    class Exported(nn.Module):
        def __init__(self):
            super().__init__()
            batch = torch.export.Dim("batch", min=1, max=8)
            exported = torch.export.export(case.net, (pixels,), dynamic_shapes=({0: batch},))
            self.graph = exported.module(check_guards=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.graph(x)

    e = seewhy.explain(as_model(Exported()), pixels, method, TARGET)
    assert_map(e.attribution, expected(case, method))


@each_method
def test_a_unit_before_the_last_attention(method: str):
    """Only attention before the unit counts, averaged over all patches."""
    case = transformer("three prefix tokens")
    e = seewhy.explain(as_model(case.net), case.pixels(), method, "blocks.0:3")
    _, layers = by_hand(case)
    if method == "attention-rollout":
        first = layers[0][0].mean(1) / 2 + torch.eye(19) / 2
        assert_map(e.attribution, first[:, 3:, 3:].mean(1).view(2, 1, 4, 4))
    else:
        assert bool((e.attribution >= 0).all()) and bool(e.attribution.any())


@each_method
def test_a_trained_transformer_looks_at_the_object(method: str):
    """The object gets at least twice the share of a uniform map."""
    scene = render(sample(40, seed=5))
    heatmap = seewhy.explain(seewhy.open_model("scenes-vit"), scene.pixels, method).heatmap
    mask = scene.masks["object"]
    inside = (heatmap * mask).sum((1, 2)) / heatmap.sum((1, 2))
    assert float((inside / mask.mean((1, 2))).mean()) > 2


# Networks to which rollout does not apply


class Blocks(nn.Module):
    """Computes logits by applying any function to the tokens of 16 patches."""

    def __init__(self, body: Callable[[Tensor], Tensor]):
        super().__init__()
        torch.manual_seed(6)
        self.patches, self.fc, self.body = nn.Conv2d(3, 8, 6, 6), nn.Linear(8, CLASSES), body

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def attend(queries: Tensor, tokens: Tensor | None = None) -> Tensor:
    tokens = queries if tokens is None else tokens
    return queries + F.scaled_dot_product_attention(queries, tokens, tokens)


def class_attention(x: Tensor) -> Tensor:
    x = attend(x)
    return attend(x[:, :1], x)


def pooled_between(x: Tensor) -> Tensor:
    x = attend(x).transpose(1, 2).unflatten(2, (4, 4))
    return attend(F.avg_pool2d(x, 2).flatten(2).transpose(1, 2))


def side_by_side(x: Tensor) -> Tensor:
    return x + attend(x) + attend(2 * x)


def gated(x: Tensor) -> Tensor:
    x = attend(x)
    attention = (x @ x.mT).softmax(-1)
    return x + (0.5 * attention + 0.5 * torch.eye(16)) @ x


def windows(x: Tensor) -> Tensor:
    return (
        attend(x.unflatten(1, (4, 4)).flatten(0, 1)[:, None])[:, 0]
        .unflatten(0, (-1, 4))
        .flatten(1, 2)
    )


def windows_beside(x: Tensor) -> Tensor:
    return attend(x.unflatten(1, (4, 4))[:, None])[:, 0].flatten(1, 2)


def one_by_one(x: Tensor) -> Tensor:
    return torch.cat([attend(one[None]) for one in x])


def odd_tokens(x: Tensor) -> Tensor:
    return attend(x[:, :7])


REFUSED = {
    class_attention: "16 x 16, 1 x 16 .queries x keys",
    pooled_between: "16 x 16, 4 x 4 .queries x keys",
    side_by_side: "do not form a sequence",
    gated: "modified after the softmax",
    windows: "windows or other parts",
    windows_beside: "windows or other parts",
    one_by_one: "separately for each picture",
    odd_tokens: "the 7 tokens of Blocks are not patches",
    (lambda x: x): "no attention layer was found in Blocks",
    (lambda x: x * x.softmax(1)): "no attention layer was found in Blocks",
}


@each_method
@pytest.mark.parametrize("body", REFUSED, ids=lambda body: body.__name__)
def test_what_rollout_has_no_meaning_for(method: str, body: Callable[[Tensor], Tensor]):
    pixels = NETWORKS["vit"].pixels()
    with pytest.raises(NotApplicable, match=REFUSED[body]) as reason:
        seewhy.explain(seewhy.Model(Blocks(body)), pixels, method)
    assert "\n" not in str(reason.value)


@each_method
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_attention_inside_torchscript_cannot_be_seen(method: str):
    case = NETWORKS["vit_with_registers"]
    net = nn.Sequential(case.build(), torch.jit.script(nn.ReLU()))
    with pytest.raises(NotApplicable, match="TorchScript"):
        seewhy.explain(as_model(net), case.pixels(1), method)
