"""Incremental inference on local edits, compared with the whole batch of edited pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from networks import NETWORKS
from seewhy.engine.incremental import Incremental, NotLocal
from seewhy.engine.incremental.spans import Span, Window

FORMATS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def edited(picture: Tensor, patches: Tensor, top: list[int], left: list[int]) -> Tensor:
    """The batch of edited pictures, in the picture's memory format."""
    copies = torch.cat([picture] * len(patches))
    for copy, patch, row, column in zip(copies, patches, top, left, strict=True):
        copy[:, row : row + patch.shape[1], column : column + patch.shape[2]] = patch
    return copies


def tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, dict):
        result = list(result.values())
    if not isinstance(result, tuple | list):
        result = list(vars(result).values())
    return [tensor for one in result for tensor in tensors(one)]


def corners(height: int, width: int, rows: int, columns: int) -> tuple[list[int], list[int]]:
    """Windows at each corner, one at an edge, and others within."""
    bottom, right = height - rows, width - columns
    inner = right - right // 3
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (0, right // 2),
              (bottom // 2, inner), (bottom - bottom // 2, inner), (bottom // 3, 0)]  # fmt: skip
    top, left = zip(*places, strict=True)
    return list(top), list(left)


def check(
    net: Callable[[Tensor], Any],
    picture: Tensor,
    size: tuple[int, int],
    tolerance: float = 1e-10,
    dense_share: float = 1.0,
) -> Incremental:
    """Compare with the whole batch, twice: the second call uses cached activations."""
    top, left = corners(*picture.shape[2:], *size)
    incremental = Incremental(net, dense_share=dense_share)
    for seed in (1, 2):
        patches = random(len(top), picture.shape[1], *size, seed=seed).to(picture.dtype)
        agree(net, incremental, picture, patches, top, left, tolerance)
    return incremental


def agree(
    net: Callable[[Tensor], Any],
    incremental: Incremental,
    picture: Tensor,
    patches: Tensor,
    top: list[int],
    left: list[int],
    tolerance: float = 1e-10,
) -> None:
    with torch.no_grad():
        expected = tensors(net(edited(picture, patches, top, left)))
    got = tensors(incremental(picture, patches, top, left))
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert type(one) is Tensor
        assert one.shape == other.shape and one.dtype == other.dtype
        assert torch.isfinite(other).all()
        scale = max(float(other.abs().amax()), 1e-30)
        assert float((one - other).abs().amax()) <= tolerance * scale


def local(incremental: Incremental) -> list[float]:
    return [share for _, share in incremental.followed if share < 1]


# Region arithmetic


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_output_that_reads_the_edit_is_reached(data):
    length = data.draw(st.integers(1, 12))
    size, stride = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    before = data.draw(st.integers(0, size - 1))
    after = data.draw(st.integers(0, size - 1))
    outputs = (length + before + after - size) // stride + 1
    if length + before + after < size:
        return
    tile = data.draw(st.integers(1, length))
    starts = data.draw(st.lists(st.integers(0, length - tile), min_size=1, max_size=4))
    reached = Window(size, stride, before).reached(Span(np.array(starts), tile, length), outputs)
    for begin, start in zip(reached.starts, starts, strict=True):
        edit = set(range(start, start + tile))
        reading = [
            output
            for output in range(outputs)
            if edit & set(range(output * stride - before, output * stride - before + size))
        ]
        assert begin >= 0 and begin + reached.size <= outputs
        assert set(reading) <= set(range(begin, begin + reached.size))
    assert reached.size <= (tile + size - 2) // stride + 1


# Single functions


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolutions(data):
    kernel = [data.draw(st.integers(1, 4)) for _ in range(2)]
    dilation = [data.draw(st.integers(1, 2)) for _ in range(2)]
    stride = [data.draw(st.integers(1, 3)) for _ in range(2)]
    padding = [data.draw(st.integers(0, 3)) for _ in range(2)]
    if stride == [1, 1] and data.draw(st.booleans()):
        padding = data.draw(st.sampled_from(["same", "valid"]))
    groups = data.draw(st.sampled_from([1, 2, 4]))
    height, width = (data.draw(st.integers(8, 15)) for _ in range(2))
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    weight, bias = random(8, 4 // groups, *kernel), random(8, seed=1)

    def net(x: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups).relu_()

    form = data.draw(st.sampled_from(list(FORMATS.values())))
    picture = random(1, 4, height, width, seed=3).contiguous(memory_format=form)
    share = data.draw(st.sampled_from([0.5, 1.0]))
    check(net, picture, (rows, columns), dense_share=share)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_pools(data):
    kernel = [data.draw(st.integers(1, 4)) for _ in range(2)]
    stride = [data.draw(st.integers(1, 4)) for _ in range(2)]
    padding = [data.draw(st.integers(0, size // 2)) for size in kernel]
    ceil_mode, include = data.draw(st.booleans()), data.draw(st.booleans())
    height, width = (data.draw(st.integers(8, 15)) for _ in range(2))
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    divisor = data.draw(st.sampled_from([None, 3]))
    dilation = data.draw(st.integers(1, 2))

    def net(x: Tensor) -> tuple[Tensor, Tensor]:
        return (
            F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode),
            F.avg_pool2d(x, kernel, stride, padding, ceil_mode, include, divisor),
        )

    form = data.draw(st.sampled_from(list(FORMATS.values())))
    picture = random(1, 3, height, width, seed=3).contiguous(memory_format=form)
    check(net, picture, (rows, columns))


WEIGHT, NORM = random(5, 4, 3, 3, seed=8), nn.BatchNorm2d(4).double().eval()
MAP = random(1, 1, 10, 12, seed=9)
LINEAR, LAYER_NORM = nn.Linear(4, 6).double(), nn.LayerNorm(4).double()

# Networks that stay local up to and including the last operation.
FOLLOWED: dict[str, Callable[[Tensor], Any]] = {
    "rectifiers": lambda x: F.relu6(x.relu() - F.leaky_relu(x, 0.2)),
    "in place": lambda x: x.mul_(2).add_(1).clamp_(max=0.7).sub_(0.1),
    "an in-place argument": lambda x: F.hardswish(F.silu(x + 0, True), inplace=True),
    "arithmetic": lambda x: (1 - x) / 3 + 2 * x**2 - torch.exp(x) * -x,
    "constants": lambda x: x * random(4, 1, 1) + random(1, 4, 1, 1, seed=5),
    "a constant map": lambda x: x * MAP + MAP[0],
    "two regions": lambda x: x + F.conv2d(x, WEIGHT[:4], padding=1),
    "regions in place": lambda x: F.conv2d(x, WEIGHT[:4], padding=1).mul_(x),
    "a growing region in place": lambda x: (x * 1).add_(F.conv2d(x, WEIGHT[:4], padding=1)),
    "concatenation": lambda x: torch.cat([x, F.conv2d(x, WEIGHT, padding=1), x], 1),
    "batch normalisation": NORM,
    "response normalisation": nn.LocalResponseNorm(3),
    "dropout": lambda x: F.dropout(nn.Dropout2d().eval()(x), training=False),
    "chunks": lambda x: torch.cat([part * i for i, part in enumerate(x.chunk(2, 1))], 1),
    "splits": lambda x: [part + 1 for part in x.split([1, 3], dim=1)],
    "channel shuffle": lambda x: (
        x.view(len(x), 2, 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape) + 1
    ),
    "channels by index": lambda x: torch.cat([x[:, 2:] * 3, torch.unsqueeze(x[:, 0], 1) + 1], 1),
    "channels last": lambda x: LINEAR(LAYER_NORM(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2) + 1,
    "padding": lambda x: F.conv2d(F.pad(x, (1, 2, 0, 1), value=0.5), WEIGHT) + 1,
    "padding of channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)) + 1,
    "means": lambda x: (x.mean((2, 3)), x.mean([-1, -2], keepdim=True), x.sum(dim=(2, 3))),
    "pooling": lambda x: (F.adaptive_avg_pool2d(x, 1), nn.AdaptiveAvgPool2d((10, 12))(x) + 1),
    "no-ops": lambda x: nn.Identity()(x.contiguous().to(torch.float64).detach()) + 1,
    "types": lambda x: (x.float() * 2).double(),
    "masks": lambda x: torch.where(x > 0.3, x, -x),
    "prelu": lambda x: F.prelu(x, random(4)),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", FOLLOWED)
def test_stays_local(name, form):
    picture = random(1, 4, 10, 12).contiguous(memory_format=FORMATS[form])
    # Means lose digits to cancellation in float32, and "types" computes in float32.
    incremental = check(FOLLOWED[name], picture, (3, 2), 1e-5 if name == "types" else 1e-12)
    assert all(share < 1 for _, share in incremental.followed)


def _write_into_view(x: Tensor) -> Tensor:
    y = x * 1
    y.flatten(2).relu_()
    return y


def _write_by_index(x: Tensor) -> Tensor:
    y = x * 1
    y[:, 0, 2:5] = 7
    y[y > 1] = 1
    return y + 1


def _write_from_plain(x: Tensor) -> Tensor:
    y = x * 1
    y += torch.arange(len(x)).view(-1, 1, 1, 1)
    y.relu_()
    return y


def _write_after_view(x: Tensor) -> Tensor:
    y = x * 1
    flat = y.flatten(1)
    y.relu_()
    return flat + 0


# Networks that are computed on whole maps, at least from some operation on.
DENSE: dict[str, Callable[[Tensor], Any]] = {
    "flattening": lambda x: x.flatten(1),
    "softmax over cells": lambda x: x.flatten(2).softmax(-1),
    "batch statistics per picture": lambda x: F.instance_norm(x),
    "reflected padding": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "resizing": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "a gate": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "a gate in place": lambda x: (x + 0).mul_(x.mean((2, 3), keepdim=True).sigmoid()).relu_(),
    "the largest": lambda x: (x.amax((2, 3)), F.adaptive_max_pool2d(x, 1)),
    "transposed": lambda x: x.transpose(2, 3),
    "flipped": lambda x: x.flip(3),
    "rows": lambda x: x[:, :, ::2, 1:],
    "attention": lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    "layer normalisation of all": lambda x: F.layer_norm(x, x.shape[1:]),
    "group normalisation": lambda x: F.group_norm(x, 2),
    "a view that is written into": _write_into_view,
    "writing by index": _write_by_index,
    "writing what differs everywhere": _write_from_plain,
    "writing after a view": _write_after_view,
    "iteration": lambda x: torch.stack([one * 2 for one in x]),
    "into a given tensor": lambda x: torch.add(x, 1, out=torch.empty_like(x[:])),
    "transposed convolution": lambda x: F.conv_transpose2d(x, WEIGHT[:4], stride=2),
    "indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "coarse pooling": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "an einsum": lambda x: torch.einsum("bchw,dc->bdhw", x, random(3, 4)),
    "the mean of all": lambda x: x - x.mean((1, 2, 3), keepdim=True),
    "how many": lambda x: (x > 0).sum((2, 3)),
    "where": lambda x: x * torch.where(x > 0)[0].numel(),
    "a truth value as an index": lambda x: x[:, True] * x[True],
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", DENSE)
def test_is_right_where_it_goes_on_densely(name, form):
    picture = random(1, 4, 10, 12).contiguous(memory_format=FORMATS[form])
    check(DENSE[name], picture, (3, 2))


@pytest.mark.parametrize("least", [-torch.inf, torch.inf, torch.nan])
def test_sums_over_what_is_not_finite(least):
    """The picture's infinities are inside or outside the edits."""
    picture, patches = random(1, 4, 10, 12), random(2, 4, 3, 2)
    places = [2, 6], [5, 0]
    picture[0, 0, 3, 5] = picture[0, 1, 0, 0] = 9

    def net(x: Tensor) -> tuple[Tensor, ...]:
        x = x.masked_fill(x > 5, least)
        return x.mean((2, 3)), x.sum((2, 3)), F.adaptive_avg_pool2d(x, 1)

    expected = net(edited(picture, patches, *places))
    assert not expected[0].isfinite().all() and expected[0][0, 0].isfinite()
    for one, other in zip(Incremental(net)(picture, patches, *places), expected, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


def _write_to_alias(x: Tensor) -> Tensor:
    y = x * 1
    first, _ = y.chunk(2, 1)
    first.relu_()
    return y


def _write_to_alias_of_dense(x: Tensor) -> Tensor:
    y = x * 1
    first = y[:, :2]
    y.flatten(1).relu_()
    return first


@pytest.mark.parametrize("net", [_write_to_alias, _write_to_alias_of_dense])
def test_writes_that_cannot_be_followed_are_refused(net):
    with pytest.raises(NotLocal):
        check(net, random(1, 4, 10, 12), (3, 2))


def test_calls_past_the_functions_are_refused():
    def unheard(x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunctionSubclass():
            return x.exp()

    with pytest.raises(NotLocal):
        check(unheard, random(1, 4, 10, 12), (3, 2))


# Networks


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_odd_networks(name, form, unchanged):
    network = NETWORKS[name]
    net = network.build().double()
    for module in net.modules():
        module.training = False
    picture = network.pixels(1).double().contiguous(memory_format=FORMATS[form])
    if form == "channels last" and name in ("view_head", "folded_channels"):
        return  # their `view` fails on such maps
    with unchanged(net):
        for size in ((4, 3), (1, 1), tuple(network.shape[1:])):
            check(net, picture, size)
        single = Incremental(net)
        for at in (0, 9):  # a batch of one
            agree(net, single, picture, random(1, *network.shape)[:, :, :5, :5], [at], [3])


@pytest.mark.parametrize("name", ["residual", "depthwise", "pools", "convnext_like"])
def test_single_precision(name):
    network = NETWORKS[name]
    check(network.build(), network.pixels(1), (4, 3), 1e-4)


def calibrated(name: str, picture: Tensor) -> nn.Module:
    """Random weights, with statistics that keep the signal from vanishing and non-zero heads."""
    from torchvision.models import get_model, vgg

    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if name == "vgg11":  # without its classifier, which takes 1 GB
            net: nn.Module = vgg.make_layers(vgg.cfgs["A"], batch_norm=False).append(nn.Flatten())
        else:
            net = get_model(name, weights=None, num_classes=5, **options)
        net = net.double()
        for parameter in net.parameters():
            if not parameter.any() or parameter.std() < 1e-5:  # biases, layer scales
                nn.init.normal_(parameter, 0.5, 0.1)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        with torch.no_grad():
            net.train()(torch.cat([picture, picture.flip(3)]))
    return net.eval()


# The smallest number of functions that must stay local.
TORCHVISION = {
    "squeezenet1_1": 12, "vgg11": 8, "googlenet": 15, "resnet18": 10, "densenet121": 20,
    "mobilenet_v2": 15, "shufflenet_v2_x0_5": 15, "efficientnet_b0": 2, "convnext_tiny": 6,
    "swin_t": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name):
    picture = random(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    net = calibrated(name, picture)
    incremental = Incremental(net, dense_share=1.0)
    top, left = [0, 58, 27], [58, 1, 30]
    agree(net, incremental, picture, random(3, 3, 6, 6, seed=1), top, left, 1e-9)
    assert len(local(incremental)) >= TORCHVISION[name]
    edits = incremental(picture, random(3, 3, 6, 6, seed=2), top, left)
    assert float((edits[0] - edits[1]).abs().amax()) > 1e-6 * float(edits.abs().amax())


def test_only_the_region_is_computed():
    """Tile sizes after 3x3 convolutions (one strided) and a pool, for an edit of 4x4 pixels."""
    seen = []
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(True), nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1),
    ).double()  # fmt: skip
    for module in net:
        module.register_forward_hook(lambda module, args, out: seen.append(out.tiles.shape[2:]))
    picture = random(1, 3, 64, 64)
    Incremental(net)(picture, random(2, 3, 4, 4), [20, 40], [24, 8])
    assert [tuple(size) for size in seen] == [(6, 6), (6, 6), (4, 4), (3, 3), (5, 5)]


# State between calls


def test_the_picture_is_computed_once():
    runs = []
    weight = random(4, 3, 3, 3)

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.convolution.default:
                runs.append(tuple(args[0].shape))
            return func(*args, **(kwargs or {}))

    incremental = Incremental(lambda x: F.conv2d(x, weight))
    picture = random(1, 3, 24, 24)
    with Watch():
        for copy in (picture, picture.clone()):
            incremental(copy, random(2, 3, 4, 4), [5, 2], [3, 4])
    assert runs == [(1, 3, 24, 24), (2, 3, 8, 8), (2, 3, 8, 8)]


def test_another_picture_and_other_weights_are_noticed():
    net = NETWORKS["residual"].build().double()
    incremental = Incremental(net, dense_share=1.0)
    patches, top, left = random(2, 3, 4, 4), [1, 9], [3, 14]
    picture = random(1, 3, 24, 24)
    agree(net, incremental, picture, patches, top, left)
    picture[0, 0, 0, 0] += 5  # in place
    agree(net, incremental, picture, patches, top, left)
    with torch.no_grad():
        net.second.weight.mul_(1.5)
    agree(net, incremental, picture, patches, top, left)
    net.first.weight = nn.Parameter(random(6, 3, 3, 3))
    agree(net, incremental, picture, patches, top, left)
    agree(net, incremental, picture, random(3, 3, 9, 2), [0, 3, 15], [0, 3, 22])


def test_an_exception_leaves_nothing_behind(unchanged):
    net = NETWORKS["residual"].build().double()

    def fail(module, args):
        raise RuntimeError("on purpose")

    incremental = Incremental(net)
    picture, patches = random(1, 3, 24, 24), random(2, 3, 4, 4)
    handle = net.block.register_forward_pre_hook(fail)
    with unchanged(net), pytest.raises(RuntimeError, match="on purpose"):
        incremental(picture, patches, [1, 2], [3, 4])
    handle.remove()
    agree(net, incremental, picture, patches, [1, 2], [3, 4])


def test_neither_picture_nor_patches_are_written_into():
    picture, patches = random(1, 3, 12, 12), random(2, 3, 4, 4)
    before = picture.clone(), patches.clone()
    Incremental(lambda x: x.relu_().mul_(2))(picture, patches, torch.tensor([1, 2]), [0, 8])
    assert torch.equal(picture, before[0]) and torch.equal(patches, before[1])


@pytest.mark.parametrize(("top", "left"), [([-1], [0]), ([9], [0]), ([0], [9]), ([], [])])
def test_windows_have_to_lie_inside(top, left):
    with pytest.raises(ValueError, match="do not fit"):
        Incremental(lambda x: x)(random(1, 3, 12, 12), random(len(top), 3, 4, 4), top, left)
