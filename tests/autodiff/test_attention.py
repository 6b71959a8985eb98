"""Attention matrices: seen however they are written, told from other softmaxes."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, Attention, as_model
from seewhy.attribution.methods.rollout import attention_of
from seewhy.autodiff.operations.opened import OPENED
from seewhy.engine.recording import ATTENTION, Request, recorded
from seewhy.support.settings import Settings
from vits import TARGET, TRANSFORMERS, assert_map, by_hand, ours, transformer


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_attention_and_its_gradient_by_hand(name: str):
    case = transformer(name)
    model, pixels = as_model(case.net), case.pixels()
    plain = model(pixels)
    logits, layers = by_hand(case)
    with recorded(model, pixels, [Request(ATTENTION)], TARGET, Settings()) as recording:
        found = attention_of(recording)
    assert (recording.logits - plain).abs().max() <= 1e-5 * plain.abs().max()
    assert (recording.logits - logits).abs().max() <= 1e-5 * logits.abs().max()
    assert len(found) == len(layers)
    for pair, wanted in zip(found, layers, strict=True):
        for one, other in zip(pair, wanted, strict=True):
            assert one.shape == other.shape
            assert_map(one, other)


# Ways to write attention


def scores_of(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])


def written_with_bmm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Heads folded into the batch."""
    query, key, value = (t.flatten(0, 1) for t in (query, key, value))
    attention = F.softmax(torch.bmm(query, key.transpose(1, 2)) / math.sqrt(4), dim=-1)
    return torch.bmm(F.dropout(attention, 0.5, False), value).unflatten(0, (-1, 2))


def written_with_einsum(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    attention = torch.einsum("bhid,bhjd->bhij", query, key).div(math.sqrt(4)).softmax(-1)
    return torch.einsum("bhij,bhjd->bhid", attention, value)


def written_the_other_way_round(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Keys in rows, queries in columns."""
    attention = (key @ query.transpose(-2, -1) / math.sqrt(4)).softmax(2)
    return (value.transpose(-2, -1) @ attention).transpose(-2, -1)


def with_grouped_queries(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    one_head = (t[:, :1] for t in (key, value))
    return F.scaled_dot_product_attention(query, *one_head, enable_gqa=True)


def masked(kind: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if kind == "causal":
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
        near = torch.ones(17, 17, dtype=torch.bool).tril(9)
        mask = near if kind == "bool" else torch.where(near, 0.5, -1e9)
        return F.scaled_dot_product_attention(query, key, value, mask, scale=0.7)

    return attention


WRITTEN = {
    "bmm": (written_with_bmm, None),
    "einsum": (written_with_einsum, None),
    "transposed": (written_the_other_way_round, None),
    "grouped": (with_grouped_queries, lambda q, k: scores_of(q, k[:, :1])),
    "bool": (
        masked("bool"),
        lambda q, k: (q @ k.mT * 0.7).masked_fill(torch.ones(17, 17).triu(10).bool(), -math.inf),
    ),
    "float": (masked("float"), lambda q, k: q @ k.mT * 0.7 - 1e9 * torch.ones(17, 17).triu(10)),
    "causal": (
        masked("causal"),
        lambda q, k: scores_of(q, k).masked_fill(torch.ones(17, 17).triu(1).bool(), -math.inf),
    ),
}


class Written(nn.Module):
    """One layer of attention from patches and a class token to logits."""

    def __init__(
        self, attention: Callable[[Tensor, Tensor, Tensor], Tensor], read: int | slice = 0
    ):
        super().__init__()
        torch.manual_seed(4)
        self.patches, self.qkv = nn.Conv2d(3, 8, 6, 6), nn.Linear(8, 24)
        self.token, self.fc = nn.Parameter(torch.randn(1, 1, 8)), nn.Linear(8, CLASSES)
        self.attention, self.read = attention, read

    def parts(self, x: Tensor) -> Tensor:
        """Query, key and value, [3, batch, 2 heads, 17 tokens, 4]."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        gathered = self.attention(*self.parts(x)).transpose(1, 2).flatten(2)
        return self.fc(gathered[:, self.read])


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("batch", [1, 3])
def test_attention_is_seen_however_it_is_written(way: str, batch: int):
    attention, scores = WRITTEN[way]
    net = Written(attention).eval()
    pixels = NETWORKS["vit"].pixels(batch)
    plain = net(pixels)
    model = seewhy.Model(net)
    with recorded(model, pixels, [Request(ATTENTION)], TARGET, Settings()) as recording:
        ((found, gradient),) = attention_of(recording)
    assert (recording.logits - plain).abs().max() <= 1e-5 * plain.abs().max()
    query, key, value = net.parts(pixels).detach()
    wanted = (scores or scores_of)(query, key).softmax(-1)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    # d score / d A_hij = sum over the head's channels of weight * value_j, for the class token
    head = value[:, :1].expand_as(value) if way == "grouped" else value
    by_key = torch.einsum("hd,bhjd->bhj", net.fc.weight[TARGET].view(2, 4), head)
    wanted = torch.zeros_like(found)
    wanted[:, :, 0] = by_key
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": torch.randn(2, 1, 5, 5, dtype=torch.double)},
        {"attn_mask": torch.ones(5, 5, dtype=torch.bool).tril(1)},
        {"attn_mask": torch.eye(5, dtype=torch.bool) & (torch.arange(5) > 1)},  # two are blind
        {"attn_mask": torch.where(torch.arange(5)[:, None] > 1, 0.0, -math.inf).double()},
        {"enable_gqa": True},
    ],
    ids=["plain", "causal", "scale", "float", "bool", "blind", "blind-float", "grouped"],
)
def test_opened_attention_computes_what_the_fused_does(given: dict):
    torch.manual_seed(0)
    heads = 2 if given.get("enable_gqa") else 4
    parts = [torch.randn(2, h, 5, 3, dtype=torch.double) for h in (4, heads, heads)]
    parts = [t.requires_grad_() for t in parts]
    fused = F.scaled_dot_product_attention
    one, other = fused(*parts, **given), OPENED[fused](*parts, **given)
    torch.testing.assert_close(other, one)
    cotangent = torch.randn_like(one)
    for a, b in zip(
        torch.autograd.grad(one, parts, cotangent),
        torch.autograd.grad(other, parts, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(b, a)


# What is no attention


class Beside(Written):
    """Attention, and softmaxes that are none."""

    def forward(self, x: Tensor) -> Tensor:
        maps = self.patches(x)
        over_space = maps.flatten(2).softmax(-1).view_as(maps)
        gates = maps.mean((2, 3)).softmax(1)[:, :, None, None]
        logits = super().forward(x) + self.fc((maps * over_space * gates).sum((2, 3)))
        mixture = logits.softmax(1) @ torch.eye(CLASSES)  # over classes
        return logits + mixture


def test_other_softmaxes_are_not_taken_for_attention():
    net, pixels = Beside(F.scaled_dot_product_attention).eval(), NETWORKS["vit"].pixels()
    model = seewhy.Model(net)
    with recorded(model, pixels, [Request(ATTENTION)], TARGET, Settings()) as recording:
        ((attention, _),) = attention_of(recording)
    torch.testing.assert_close(attention, scores_of(*net.parts(pixels)[:2]).softmax(-1))


def test_attention_that_the_score_does_not_depend_on_is_left_out():
    case = ours(Attention)
    unit = "blocks.0:3"
    with recorded(
        as_model(case.net), case.pixels(), [Request(ATTENTION)], unit, Settings()
    ) as recording:
        assert len(attention_of(recording)) == 1
