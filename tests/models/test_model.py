from collections import OrderedDict, namedtuple
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, Body
from seewhy.errors import SeewhyError, Unknown, UserCodeError
from seewhy.images import Preparation


def one_line(error: Exception) -> bool:
    return "\n" not in str(error) and len(str(error)) > 10


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean": "abc"},
        {"mean": ["a", "b", "c"]},
        {"mean": []},
        {"mean": [0.1, 0.2], "std": [0.1] * 3},
        {"mean": [float("nan")] * 3},
        {"std": [0.0, 1.0, 1.0]},
        {"std": [-1.0, 1.0, 1.0]},
        {"std": [float("nan")] * 3},
        {"std": [float("inf")] * 3},
        {"std": [1.0] * 4},
        {"size": 0},
        {"size": -3},
        {"size": (0, 5)},
        {"size": (32,)},
        {"size": "x"},
        {"size": 3.5},
        {"size": 32, "preparation": Preparation()},
        {"classes": 5},
        {"classes": "cat"},
        {"classes": {-1: "cat"}},
    ],
    ids=str,
)
def test_a_bad_construction_ends_in_one_line(arguments: dict):
    with pytest.raises(SeewhyError) as caught:
        seewhy.Model(Body(), **arguments)
    assert one_line(caught.value)


@pytest.mark.parametrize(
    "net", [None, "resnet50", Body, len, 3], ids=["None", "a name", "a class", "a function", "3"]
)
def test_only_networks_can_be_wrapped(net):
    with pytest.raises(SeewhyError, match=r"torch\.nn\.Module, got"):
        seewhy.Model(net)


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (("a", 7), ["a", "7"]),
        ({0: "a", 2: "c"}, ["a", "class 1", "c"]),
        ({"0": "a", "1": "b"}, ["a", "b"]),  # as JSON keeps it
    ],
)
def test_class_names(classes, names: list[str]):
    assert seewhy.Model(Body(), classes=classes).classes == names


def test_one_number_holds_for_all_channels():
    model = seewhy.Model(Body(), mean=0.5, std=0.25)
    assert model.mean.flatten().tolist() == [0.5] * 3
    assert model.std.flatten().tolist() == [0.25] * 3


def test_normalisation_is_inside():
    net = Body().eval()
    pixels = torch.rand(2, 3, 24, 24)
    model = seewhy.Model(net, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    normal = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), net(normal))


def test_one_value_counts_for_all_channels_of_a_grey_model():
    model = seewhy.Model(NETWORKS["grey"].build(), mean=[0.5], std=[0.5])
    assert model.preparation.channels == 1
    assert model(torch.rand(1, 1, 24, 24)).shape == (1, CLASSES)


def test_differentiable_with_respect_to_pixels():
    net = Body().eval()
    pixels = torch.rand(1, 3, 24, 24, requires_grad=True)
    (ours,) = torch.autograd.grad(seewhy.Model(net, std=[0.5] * 3)(pixels).sum(), pixels)
    (theirs,) = torch.autograd.grad(net(pixels / 0.5).sum(), pixels)
    torch.testing.assert_close(ours, theirs)
    assert all(p.grad is None for p in net.parameters())


class Returns(nn.Module):
    def __init__(self, make: Callable):
        super().__init__()
        self.make, self.conv = make, nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor):
        return self.make(self.conv(x).mean((2, 3)))


Named = namedtuple("Named", ["logits", "auxiliary"])


@pytest.mark.parametrize(
    "make",
    [
        lambda y: {"logits": y, "loss": None},
        lambda y: OrderedDict(out=y, aux=y + 1),
        lambda y: (y, y + 1),
        lambda y: [y],
        lambda y: Named(y, y + 1),
        lambda y: type("Output", (), {"logits": y})(),
    ],
)
def test_logits_in_whatever_a_classifier_returns(make: Callable):
    net, pixels = Returns(make).eval(), torch.rand(2, 3, 9, 9)
    torch.testing.assert_close(seewhy.Model(net)(pixels), net.conv(pixels).mean((2, 3)))


def test_one_output_a_picture_is_one_class():
    assert seewhy.Model(Returns(lambda y: y[:, 0]))(torch.rand(2, 3, 9, 9)).shape == (2, 1)


@pytest.mark.parametrize(
    ("make", "came"),
    [
        (lambda y: y[:, :, None, None], r"\(2, 4, 1, 1\)"),
        (lambda y: None, "NoneType"),
        (lambda y: {"boxes": y}, "NoneType|boxes"),
        (lambda y: (), "tuple"),
        (lambda y: y.sum(), r"\(\)"),
    ],
)
def test_no_logits_are_named(make: Callable, came: str):
    with pytest.raises(SeewhyError, match=came) as caught:
        seewhy.Model(Returns(make))(torch.rand(2, 3, 9, 9))
    assert "[batch, classes]" in str(caught.value) and one_line(caught.value)


def test_wrappers_are_taken_off():
    net = Body()
    assert seewhy.Model(nn.DataParallel(net)).net is net
    assert seewhy.Model(torch.compile(net)).net is net
    assert seewhy.Model(torch.compile(nn.DataParallel(net))).net is net
    assert seewhy.Model(nn.DataParallel(net)).name == "Body"


def test_class_index():
    model = seewhy.Model(Body(), classes=["tench, Tinca tinca", "goldfish", "sea_lion"])
    assert [model.class_index(t, 3) for t in (2, "1", "tinca tinca", "Sea lion")] == [2, 1, 0, 2]
    with pytest.raises(Unknown, match="goldfish"):
        model.class_index("gold fish", 3)
    for wrong in (3, -1, "17"):
        with pytest.raises(SeewhyError, match="out of range"):
            model.class_index(wrong, 3)


def test_a_network_that_cannot_be_channels_last_runs_as_it_is():
    for name in ("view_head", "folded_channels"):
        case = NETWORKS[name]
        model = case.model()
        assert model(case.pixels(1)).shape == (1, CLASSES)
        assert model(case.pixels(3)).shape == (3, CLASSES)
        assert model._memory_format is torch.contiguous_format


def test_an_error_of_the_network_is_its_own():
    class Broken(Body):
        def decide(self, x: Tensor) -> Tensor:
            raise ZeroDivisionError("inside the network")

    with pytest.raises(UserCodeError, match="inside the network in decide"):
        seewhy.Model(Broken())(torch.rand(1, 3, 24, 24))


def test_layers_are_described_once_for_each_size():
    runs: list[int] = []

    class Counting(Body):
        def features(self, x: Tensor) -> Tensor:
            runs.append(1)
            return F.relu(super().features(x))

    model = seewhy.Model(Counting())
    small, large = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 24, 24)
    model.layer_graph(small)
    once = len(runs)
    assert model.layer_graph(small) is model.layer_graph(torch.rand(5, 3, 16, 16))
    assert len(runs) == once
    assert model.layer_graph(large) is not model.layer_graph(small)


def test_what_it_says_of_itself():
    model = seewhy.Model(Body(), size=(32, 48), classes=["a", "b"], name="mine")
    assert repr(model) == "Model(mine, 32x48, 2 classes, cpu)"
    assert repr(seewhy.Model(Body())) == "Model(Body, any size, cpu)"
    assert model.dtype == torch.float32 and seewhy.Model(Body().double()).dtype == torch.float64


def test_a_network_that_fits_in_memory_with_one_picture_only_runs():
    class Small(Body):
        def features(self, x: Tensor) -> Tensor:
            if len(x) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().features(x)

    model = seewhy.Model(Small())
    assert model(torch.rand(1, 3, 24, 24)).shape == (1, CLASSES)
    assert model._memory_format is torch.contiguous_format


def test_a_function_is_pointed_to_black_box():
    with pytest.raises(SeewhyError, match=r"seewhy\.black_box"):
        seewhy.Model(lambda pixels: pixels)  # pyright: ignore[reportArgumentType]
