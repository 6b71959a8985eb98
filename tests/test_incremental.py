"""Incremental inference is exact: it says what the network says of the edited pictures."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import get_model

from networks import NETWORKS
from seewhy.incremental import Incremental, Local, NotLocal

PLACES = [(0, 0), (5, 9), (8, 3), (16, 16), (0, 16), (7, 7)]

# Their own code writes into activations, or checks what it must not see.
NOT_FOLLOWED: set[str] = set()


def edited(picture: Tensor, patches: Tensor, places: list[tuple[int, int]]) -> Tensor:
    copies = picture.repeat(len(places), 1, 1, 1)
    height, width = patches.shape[-2:]
    for copy, patch, (top, left) in zip(copies, patches, places, strict=True):
        copy[:, top : top + height, left : left + width] = patch
    return copies


def both(net, picture: Tensor, size: tuple[int, int], places: list[tuple[int, int]]):
    generator = torch.Generator().manual_seed(3)
    shape = (len(places), picture.shape[1], *size)
    patches = torch.rand(shape, generator=generator, dtype=picture.dtype)
    top, left = torch.tensor(places).T
    with torch.no_grad():
        expected = net(edited(picture, patches, places))
        found = Incremental(net, picture)(patches, top, left)
    return found, expected


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    assert type(found) is Tensor and found.shape == expected.shape
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


def logits(output):
    output = getattr(output, "logits", output)
    output = output["logits"] if isinstance(output, dict) else output
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(8, 8), (3, 5), (1, 1)])
def test_every_network(name: str, size: tuple[int, int]):
    case = NETWORKS[name]
    net = case.build().double()
    for module in net.modules():
        module.training = False
    height, width = case.shape[1:]
    places = [(min(y, height - size[0]), min(x, width - size[1])) for y, x in PLACES]
    picture = case.pixels(1).double()
    try:
        found, expected = both(lambda x: logits(net(x)), picture, size, places)
    except NotLocal:
        assert name in NOT_FOLLOWED
    else:
        assert_same(found, expected)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_windows_of_any_geometry(data: st.DataObject):
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    height, width = draw(9, 15), draw(9, 15)
    window, stride, dilation = draw(1, 4), draw(1, 3), draw(1, 2)
    pad = draw(0, window // 2)
    kind = data.draw(st.sampled_from(["convolution", "max", "average", "depthwise"]))
    generator = torch.Generator().manual_seed(draw(0, 99))

    def weight(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    full, deep = weight(4, 2, window, window), weight(2, 1, window, window)
    last = weight(3, 4 if kind == "convolution" else 2, 3, 3)

    def net(x: Tensor) -> Tensor:
        if kind == "convolution":
            x = F.conv2d(x, full, None, stride, pad, dilation)
        elif kind == "depthwise":
            x = F.conv2d(x, deep, None, stride, pad, dilation, groups=2)
        elif kind == "max":
            x = F.max_pool2d(x, window, stride, pad, ceil_mode=bool(window % 2))
        else:
            x = F.avg_pool2d(x, window, stride, pad)
        return F.conv2d(x.relu(), last, padding=1).mean((2, 3))

    size = (draw(1, 5), draw(1, 5))
    places = [(draw(0, height - size[0]), draw(0, width - size[1])) for _ in range(draw(1, 4))]
    picture = weight(1, 2, height, width)
    assert_same(*both(net, picture, size, places))


MODELS = ["squeezenet1_1", "vgg11", "googlenet", "resnet18", "densenet121", "mobilenet_v2",
          "shufflenet_v2_x0_5", "efficientnet_b0", "convnext_tiny"]  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_of_torchvision(name: str):
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = get_model(name, weights=None, **options).double().eval()
    picture = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    assert_same(*both(net, picture, (8, 8), [(0, 0), (24, 32), (56, 56), (30, 9)]), 1e-9)


def test_googlenet_of_pretrained_weights_which_changes_its_input():
    net = get_model("googlenet", weights=None, transform_input=True, init_weights=False)
    picture = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    assert_same(*both(net.double().eval(), picture, (8, 8), [(0, 0), (24, 32)]), 1e-9)


def test_only_what_the_edit_reaches_is_computed():
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))).eval()
    seen = []
    for layer in net:
        layer.register_forward_hook(lambda m, a, out: seen.append(out.tile_size))
    places = torch.tensor([[12, 12], [0, 30], [33, 40]])
    with torch.no_grad():
        Incremental(net, torch.rand(1, 3, 64, 64))(torch.rand(3, 3, 4, 4), *places.T)
    assert seen == [(6, 6), (8, 8), (10, 10), (12, 12)]


def test_the_unedited_picture_is_computed_once():
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 3)).eval()
    run = Incremental(net, torch.rand(1, 3, 32, 32))
    at = torch.tensor([4, 9])
    with torch.no_grad():
        first = run(torch.rand(2, 3, 4, 4), at, at)
        (base,) = run._base._after.values()
        value = base.value
        run(torch.rand(2, 3, 4, 4), at, at)
    assert next(iter(run._base._after.values())).value is value
    assert first.shape == (2, 3, 28, 28)


def test_what_writes_unseen_is_refused():
    def net(x: Tensor) -> Tensor:
        x[:, 0] = 0
        return x.mean((2, 3))

    at = torch.tensor([1])
    with pytest.raises(NotLocal, match="writes"):
        Incremental(net, torch.rand(1, 3, 8, 8))(torch.rand(1, 3, 2, 2), at, at)


def test_it_answers_for_the_whole_batch():
    seen = []

    def net(x: Tensor) -> Tensor:
        seen.append((isinstance(x, Local), tuple(x.shape), x.size(0), x.dim(), len(x), x.dtype))
        return x.flatten(1)

    at = torch.tensor([1, 2])
    out = Incremental(net, torch.rand(1, 3, 8, 8))(torch.rand(2, 3, 2, 2), at, at)
    assert seen == [(True, (2, 3, 8, 8), 2, 4, 2, torch.float32)] and out.shape == (2, 192)
