"""Batch normalisation of one picture: torch's gradient is right however tensors lie in memory."""

import gc
import itertools
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from seewhy.support.batch_norm import keep_layout
from seewhy.targets.terms import unit

MEAN, VAR, WEIGHT = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).unbind()
VAR = VAR.square() + 0.5


def layouts(values: Tensor) -> Iterator[Tensor]:
    """The same numbers, lying in memory in different ways."""
    height, width = values.shape[2:]
    yield values.contiguous()
    yield values.contiguous(memory_format=torch.channels_last)
    yield (
        values.flatten(2).transpose(1, 2).contiguous().transpose(1, 2).unflatten(2, (height, width))
    )
    for order in itertools.permutations(range(4)):
        back = [order.index(i) for i in range(4)]
        yield values.permute(order).contiguous().permute(back)
    yield torch.stack([values, values], -1)[..., 0]


def batch_norm(x: Tensor) -> Tensor:
    c = x.shape[1]
    return F.batch_norm(x, MEAN[:c].to(x), VAR[:c].to(x), WEIGHT[:c].to(x))


def batch_norm_in_training(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, WEIGHT[: x.shape[1]].to(x), training=True)


@pytest.mark.parametrize("norm", [batch_norm, batch_norm_in_training, F.instance_norm])
@pytest.mark.parametrize("shape", [(1, 8, 6, 5), (1, 8, 1, 5), (1, 1, 4, 4), (2, 1, 6, 5)])
def test_the_gradient_is_right_in_every_layout(norm, shape):
    generator = torch.Generator().manual_seed(1)
    x, cotangent = (torch.randn(shape, generator=generator) for _ in range(2))
    exact = x.double().requires_grad_()
    (expected,) = torch.autograd.grad(norm(exact), exact, cotangent.double())
    for given, pulled in itertools.product(layouts(x), layouts(cotangent)):
        given = given.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(keep_layout(norm(given)), given, pulled)
        torch.testing.assert_close(gradient, expected.float(), rtol=1e-3, atol=1e-4)


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2).mean(1)


class Residual(nn.Module):
    """Normalises in a branch, the second time by what it measures."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), norm

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.norm(self.conv(x))).relu()


def network(norm: nn.Module, padding: str, tokens: bool) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = nn.Conv2d(3, 8, 3, padding=1, padding_mode=padding)
        pool = Tokens() if tokens else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        net = nn.Sequential(first, nn.BatchNorm2d(8), Residual(norm), pool, nn.Linear(8, 5)).eval()
        nn.init.uniform_(net[1].weight, 0.5, 2)
    return net


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8), nn.InstanceNorm2d(8), nn.GroupNorm(2, 8)])
@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize(
    "method", ["gradient", "lrp-epsilon", "deep-lift", "guided-backprop", "integrated-gradients"]
)
def test_a_picture_alone_is_explained_as_in_a_batch(norm, padding, tokens, method):
    net = network(norm, padding, tokens)
    pixels = torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(2))
    for target in (1, unit("1:3")):
        both = seewhy.explain(net, pixels, method, target).attribution
        alone = torch.cat(
            [seewhy.explain(net, p[None], method, target).attribution for p in pixels]
        )
        scale = float(both.abs().max())
        torch.testing.assert_close(alone, both, rtol=1e-3, atol=1e-3 * scale)
    if method == "gradient":
        exact = pixels.double().requires_grad_()
        (expected,) = torch.autograd.grad(
            network(norm, padding, tokens).double()(exact)[:, 1].sum(), exact
        )
        norm.float()
        gradient = seewhy.explain(net, pixels[:1], method, 1).attribution
        torch.testing.assert_close(gradient, expected[:1].float(), rtol=1e-3, atol=1e-5)


def test_graphs_are_freed():
    x = torch.rand(1, 8, 4, 4).requires_grad_()
    y = keep_layout(batch_norm(x).relu())
    node = y.grad_fn
    assert node is not None
    freed = []

    class Watch:
        def __del__(self) -> None:
            freed.append(True)

    node.metadata["watch"] = Watch()
    gc.disable()
    try:
        del y, node
        assert freed
    finally:
        gc.enable()
