"""Vision transformers of several libraries, and the same taken apart and run by loops in float64.

The reference runs each transformer once more from its weights: queries, keys and softmax query by
query. Nothing of it is hooked or watched.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks import CLASSES, Attention, OwnAttention, ViT

TARGET = 3  # the class that is explained


@dataclass
class Layer:
    """One block: `qkv` are the weight and bias of query, key and value."""

    heads: int
    qkv: Sequence[tuple[Tensor, Tensor]]
    output: nn.Module
    norms: tuple[nn.Module, nn.Module]
    mlp: nn.Module


@dataclass(eq=False)
class Transformer:
    """A network and how to take it apart.

    - `tokens` makes them of normalised pixels, `decide` makes logits of them.
    - `read`: which tokens the decision is read from. `prefix`: tokens before the patches.
    """

    net: nn.Module
    shape: tuple[int, int, int]
    layers: list[Layer]
    tokens: Callable[[Tensor], Tensor]
    decide: Callable[[Tensor], Tensor]
    read: Sequence[int]
    prefix: int

    def pixels(self) -> Tensor:
        return torch.rand(2, *self.shape, generator=torch.Generator().manual_seed(5))


def chunked(weight: Tensor, bias: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The three parts of a weight that makes query, key and value at once."""
    return list(zip(weight.chunk(3), bias.chunk(3), strict=True))


def attention_by_loops(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """[batch, heads, tokens, tokens] of [batch, tokens, width]."""
    batch, count, width = query.shape
    size = width // heads
    pictures = []
    for b in range(batch):
        matrices = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            rows = []
            for i in range(count):
                raised = (key[b, :, part] @ query[b, i, part] / math.sqrt(size)).exp()
                rows.append(raised / raised.sum())
            matrices.append(torch.stack(rows))
        pictures.append(torch.stack(matrices))
    return torch.stack(pictures)


@cache
def by_hand(case: Transformer) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The logits, and each layer's attention and its gradient, in float64."""
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3]))
    x, found = case.tokens((case.pixels().double() - mean) / std), []
    for layer in case.layers:
        query, key, value = (F.linear(layer.norms[0](x), w, b) for w, b in layer.qkv)
        attention = attention_by_loops(query, key, layer.heads)
        found.append(attention)
        gathered = attention @ value.unflatten(2, (layer.heads, -1)).transpose(1, 2)
        x = x + layer.output(gathered.transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.norms[1](x))
    logits = case.decide(x)
    gradients = torch.autograd.grad(logits[:, TARGET].sum(), found)
    return logits.detach(), [(a.detach(), g) for a, g in zip(found, gradients, strict=True)]


def assert_map(found: Tensor, wanted: Tensor, tolerance: float = 1e-5) -> None:
    assert bool(wanted.any())
    assert (found - wanted).abs().max() <= tolerance * wanted.abs().max()


def as_double(net: nn.Module) -> nn.Module:
    """The same network in float64, and another object."""
    return copy.deepcopy(net).double()


def spread(net: nn.Module) -> None:
    """Weights so large that attention is not even; some libraries begin with zeros."""
    with torch.no_grad():
        for parameter in net.parameters():
            scale = 0.3 if parameter.ndim < 2 else 1.5 / parameter.shape[-1] ** 0.5
            parameter.add_(torch.randn_like(parameter) * scale)


def ours(attention: Callable[[int], nn.Module], prefix: int = 1, pooled: bool = False):
    """The ViT of the tests; with `pooled`, the mean of all patches decides."""

    class Pooled(ViT):
        def forward(self, x: Tensor) -> Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1) + self.positions
            return self.fc(self.norm(self.blocks(x))[:, prefix:].mean(1))

    torch.manual_seed(2)
    net = (Pooled if pooled else ViT)(attention, prefix).eval()
    double = as_double(net)
    read = range(prefix, prefix + 16) if pooled else [0]

    def tokens(x: Tensor) -> Tensor:
        x = double.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([double.tokens.expand(len(x), -1, -1), x], 1) + double.positions

    def layer(block: nn.Module) -> Layer:
        if attention is OwnAttention:
            mha = block.attn.mha
            qkv, output = chunked(mha.in_proj_weight, mha.in_proj_bias), mha.out_proj
        else:
            qkv, output = chunked(block.attn.qkv.weight, block.attn.qkv.bias), block.attn.proj
        return Layer(2, qkv, output, (block.norm1, block.norm2), block.mlp)

    return Transformer(
        net, (3, 24, 24), [layer(b) for b in double.blocks], tokens,
        lambda x: double.fc(double.norm(x)[:, list(read)].mean(1)), read, prefix,
    )  # fmt: skip


def timm_vit(fused: bool = True, **changes: Any) -> Transformer:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, num_classes=CLASSES, depth=3, **changes
    ).eval()
    for block in net.blocks:
        block.attn.fused_attn = fused
    spread(net)
    double = as_double(net)

    def tokens(x: Tensor) -> Tensor:
        return double._pos_embed(double.patch_embed(x))

    def layer(block: nn.Module) -> Layer:
        qkv = chunked(block.attn.qkv.weight, block.attn.qkv.bias)
        return Layer(3, qkv, block.attn.proj, (block.norm1, block.norm2), block.mlp)

    prefix = net.num_prefix_tokens
    read = [0] if net.global_pool == "token" else range(prefix, prefix + 16)
    return Transformer(
        net, (3, 64, 64), [layer(b) for b in double.blocks], tokens,
        lambda x: double.forward_head(double.norm(x)), read, prefix,
    )  # fmt: skip


def distilled() -> Transformer:
    """Two tokens decide: the class token and the distillation token."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.create_model(
        "deit_tiny_distilled_patch16_224", img_size=64, num_classes=CLASSES, depth=2
    ).eval()
    spread(net)
    double = as_double(net)
    layers = [
        Layer(
            3, chunked(b.attn.qkv.weight, b.attn.qkv.bias), b.attn.proj, (b.norm1, b.norm2), b.mlp
        )
        for b in double.blocks
    ]
    return Transformer(
        net, (3, 64, 64), layers, lambda x: double._pos_embed(double.patch_embed(x)),
        lambda x: double.forward_head(double.norm(x)), [0, 1], 2,
    )  # fmt: skip


def torchvision_vit() -> Transformer:
    """Built as vit_b_16 is, and smaller."""
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    net = VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=CLASSES).eval()
    spread(net)
    double = as_double(net)

    def tokens(x: Tensor) -> Tensor:
        x = double._process_input(x)
        x = torch.cat([double.class_token.expand(len(x), -1, -1), x], 1)
        return x + double.encoder.pos_embedding

    def layer(block: nn.Module) -> Layer:
        mha = block.self_attention
        qkv = chunked(mha.in_proj_weight, mha.in_proj_bias)
        return Layer(4, qkv, mha.out_proj, (block.ln_1, block.ln_2), block.mlp)

    return Transformer(
        net, (3, 32, 32), [layer(b) for b in double.encoder.layers], tokens,
        lambda x: double.heads(double.encoder.ln(x)[:, 0]), [0], 1,
    )  # fmt: skip


def hf_vit(implementation: str) -> Transformer:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=32,
        image_size=32, patch_size=8, num_labels=CLASSES, attn_implementation=implementation,
    )  # fmt: skip
    net = transformers.ViTForImageClassification(config).eval()
    assert net.config._attn_implementation == implementation
    spread(net)
    double = as_double(net)

    def layer(block: nn.Module) -> Layer:
        a = block.attention
        qkv = [(m.weight, m.bias) for m in (a.q_proj, a.k_proj, a.v_proj)]
        norms = (block.layernorm_before, block.layernorm_after)
        return Layer(3, qkv, a.o_proj, norms, block.mlp)

    return Transformer(
        net, (3, 32, 32), [layer(b) for b in double.vit.layers], double.vit.embeddings,
        lambda x: double.classifier(double.vit.layernorm(x)[:, 0]), [0], 1,
    )  # fmt: skip


TRANSFORMERS = {
    "nn.MultiheadAttention": lambda: ours(OwnAttention),
    "scaled_dot_product_attention": lambda: ours(Attention),
    "three prefix tokens": lambda: ours(Attention, prefix=3),
    "mean of the patches": lambda: ours(Attention, pooled=True),
    "timm fused": timm_vit,
    "timm unfused": lambda: timm_vit(fused=False),
    "timm registers": lambda: timm_vit(reg_tokens=4),
    "timm mean": lambda: timm_vit(global_pool="avg"),
    "timm no class token": lambda: timm_vit(global_pool="avg", class_token=False),
    "timm distilled": distilled,
    "torchvision": torchvision_vit,
    "transformers sdpa": lambda: hf_vit("sdpa"),
    "transformers eager": lambda: hf_vit("eager"),
}


@cache
def transformer(name: str) -> Transformer:
    return TRANSFORMERS[name]()
