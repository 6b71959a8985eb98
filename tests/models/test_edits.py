from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, Body
from seewhy import ablate, add, capture, edited, replace, scale
from seewhy.errors import SeewhyError, Unknown, UserCodeError
from seewhy.models.hooks import first_tensor


def hooked(net: nn.Module, layer: str, pixels: Tensor) -> Tensor:
    """What a plain forward hook sees, copied."""
    seen: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(
        lambda module, args, output: seen.append(output.clone())
    )
    try:
        with torch.no_grad():
            net(pixels)
    finally:
        handle.remove()
    return seen[-1]


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        ("in_place_relu", "0"),  # overwritten by the rectifier that follows
        ("in_place_relu", "1"),
        ("residual_in_place", "norm"),
        ("concatenation", "first"),
        ("view_head", "second"),
        ("vit", "blocks.0"),
        ("vit_with_registers", "blocks.1.norm1"),
        ("swin_like", "blocks.0"),
        ("convnext_like", "stem"),
        ("perceptron", "1"),
    ],
)
def test_capture_equals_a_plain_hook(network: str, layer: str, unchanged: Callable):
    case = NETWORKS[network]
    net, pixels = case.build(), case.pixels()
    model = seewhy.Model(net)
    with unchanged(net):
        found = capture(model, pixels, [layer])
    assert list(found) == [layer] and not found[layer].requires_grad
    torch.testing.assert_close(found[layer], hooked(net, layer, pixels), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "address", "where"),
    [
        ("in_place_relu", "2:3", (slice(None), 3)),
        ("in_place_relu", "2:3@4,5", (slice(None), 3, 4, 5)),
        ("in_place_relu", "2@4,5", (slice(None), slice(None), 4, 5)),
        ("swin_like", "blocks.0:3", (..., 3)),
        ("swin_like", "blocks.0:3@4,5", (slice(None), 4, 5, 3)),
        ("vit", "blocks.0:3", (..., 3)),
        ("vit", "blocks.0:3@1,2", (slice(None), 1 + 1 * 4 + 2, 3)),
        ("vit_with_registers", "blocks.0@3,0", (slice(None), 3 + 3 * 4)),
        ("perceptron", "1:4", (slice(None), 4)),
    ],
)
def test_capture_of_a_part(network: str, address: str, where: tuple):
    case = NETWORKS[network]
    model, pixels = seewhy.Model(case.build()), case.pixels()
    layer = address.split(":")[0].split("@")[0]
    found = capture(model, pixels, [address, layer])
    assert torch.equal(found[address], found[layer][where])


def test_capture_of_one_of_several_calls():
    net, pixels = Body().eval(), torch.rand(2, 3, 16, 16)
    found = capture(seewhy.Model(net), pixels, ["relu#0", "relu#1", "relu"])
    first = F.relu(net.first(pixels))
    torch.testing.assert_close(found["relu#0"], first)
    torch.testing.assert_close(found["relu#1"], F.relu(net.second(first)))
    assert torch.equal(found["relu"], found["relu#1"])


class Counted(nn.Module):
    def __init__(self, layer: nn.Module, runs: list[str], name: str):
        super().__init__()
        self.layer, self.runs, self.name = layer, runs, name

    def forward(self, x: Tensor) -> Tensor:
        self.runs.append(self.name)
        return self.layer(x)


def test_capture_stops_at_the_deepest_layer():
    runs: list[str] = []
    parts = {"a": nn.Conv2d(3, 4, 3), "b": nn.ReLU(), "c": nn.Conv2d(4, 4, 3), "d": nn.Flatten()}
    net = nn.Sequential(OrderedDict((n, Counted(m, runs, n)) for n, m in parts.items()))
    model, pixels = seewhy.Model(net), torch.rand(1, 3, 8, 8)
    model.layer_graph(pixels)
    runs.clear()
    capture(model, pixels, ["b", "a"])
    assert runs == ["a", "b"]
    runs.clear()
    capture(model, pixels, [])
    assert runs == []


def test_a_networks_own_except_does_not_keep_it_running():
    runs: list[str] = []

    class Careful(Body):
        def features(self, x: Tensor) -> Tensor:
            try:
                x = self.first(x)
            except Exception:
                x = torch.zeros(len(x), 6, 16, 16)
            runs.append("on")
            return self.second(x)

    model, pixels = seewhy.Model(Careful()), torch.rand(1, 3, 16, 16)
    model.layer_graph(pixels)
    runs.clear()
    assert capture(model, pixels, ["first"])["first"].any()
    assert runs == []


# Edits


def by_hand(network: str, layer: str, change: Callable[[Tensor], None], pixels: Tensor) -> Tensor:
    """Logits where `change` has written into the output of `layer`."""
    net = NETWORKS[network].build()

    def hook(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        output = output.clone()
        change(output)
        return output

    net.get_submodule(layer).register_forward_hook(hook)
    with torch.no_grad():
        return net(pixels)


def assign(where: tuple, function: Callable[[Tensor], Tensor | float]) -> Callable:
    def change(output: Tensor) -> None:
        output[where] = function(output[where])

    return change


ALL = slice(None)
EDITS = {
    "ablate": (ablate(), lambda a: torch.zeros_like(a)),
    "scale": (scale(-2.5), lambda a: a * -2.5),
    "replace": (replace(3.0), lambda a: torch.full_like(a, 3.0)),
    "add": (add(torch.tensor(1.5)), lambda a: a + 1.5),
}
PLACES = [
    ("in_place_relu", "2", "", (ALL,)),
    ("in_place_relu", "2", ":3", (ALL, 3)),
    ("in_place_relu", "2", ":3@4,5", (ALL, 3, 4, 5)),
    ("in_place_relu", "2", "@4,5", (ALL, ALL, 4, 5)),
    ("swin_like", "blocks.0", ":3", (..., 3)),
    ("swin_like", "blocks.0", "@4,5", (ALL, 4, 5)),
    ("vit", "blocks.0", "", (ALL,)),
    ("vit", "blocks.0", ":3", (..., 3)),
    ("vit", "blocks.0", ":3@1,2", (ALL, 7, 3)),
    ("vit_with_registers", "blocks.0", "@3,0", (ALL, 15)),
]


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(("network", "layer", "part", "where"), PLACES)
def test_edits_by_hand(network: str, layer: str, part: str, where: tuple, edit: str):
    case = NETWORKS[network]
    net, pixels = case.build(), case.pixels()
    ours, function = EDITS[edit]
    model = seewhy.Model(net, size=24)
    plain = model(pixels)
    with edited(model, {layer + part: ours}) as same:
        assert same is model
        logits = model(pixels)
    expected = by_hand(network, layer, assign(where, function), pixels)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    if edit != "add":  # layer normalisation takes a common shift away
        assert not torch.allclose(logits, plain)
    assert torch.equal(model(pixels), plain)


@pytest.mark.parametrize(
    ("network", "part", "where"),
    [("vit", "@1,2", (ALL, 7)), ("in_place_relu", "@4,5", (ALL, ALL, 4, 5))],
)
def test_positions_are_those_of_the_pictures_that_run(network: str, part: str, where: tuple):
    """A model that takes any size: nothing is known of the pictures before they come."""
    case = NETWORKS[network]
    layer = {"vit": "blocks.0", "in_place_relu": "2"}[network]
    model, pixels = case.model(), case.pixels()
    plain = seewhy.Model(case.build())
    with edited(plain, {layer + part: ablate()}):
        logits = plain(pixels)
    expected = by_hand(network, layer, assign(where, torch.zeros_like), pixels)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert model.preparation.size is None


def test_a_network_of_one_size_can_be_edited_without_naming_the_size():
    case = NETWORKS["perceptron"]
    model = seewhy.Model(case.build())
    with edited(model, {"1:4": ablate()}):
        logits = model(case.pixels())
    expected = by_hand("perceptron", "1", assign((ALL, 4), torch.zeros_like), case.pixels())
    torch.testing.assert_close(logits, expected)


def test_edits_of_one_layer_come_in_order_and_of_all_calls_or_one():
    net, pixels = Body().eval(), torch.rand(2, 3, 16, 16)
    model = seewhy.Model(net, size=16)

    def logits(first: Callable, second: Callable) -> Tensor:
        with torch.no_grad():
            x = second(F.relu(net.second(first(F.relu(net.first(pixels))))))
            return net.fc(x.mean((2, 3)))

    with edited(model, {"relu#0": scale(3.0)}):
        torch.testing.assert_close(model(pixels), logits(lambda a: 3 * a, lambda a: a))
    with edited(model, {"relu": scale(3.0)}):
        torch.testing.assert_close(model(pixels), logits(lambda a: 3 * a, lambda a: 3 * a))
    with edited(model, {"relu#1": scale(3.0), "relu#1:2": add(1.0)}):
        two = torch.zeros(8, 1, 1)
        two[2] = 1.0
        torch.testing.assert_close(model(pixels), logits(lambda a: a, lambda a: 3 * a + two))


def test_a_direction_is_added():
    net, pixels = NETWORKS["vit"].build(), NETWORKS["vit"].pixels()
    direction = torch.linspace(-1, 1, 8)
    model = seewhy.Model(net, size=24)
    with edited(model, {"blocks.0": add(direction)}):
        logits = model(pixels)
    expected = by_hand("vit", "blocks.0", assign((ALL,), lambda a: a + direction), pixels)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_gradients_flow_through_an_edit():
    model = seewhy.Model(Body().eval(), size=16)
    pixels = torch.rand(1, 3, 16, 16, requires_grad=True)
    with edited(model, {"relu#1:2": scale(0.0), "first:1": add(0.5)}):
        (gradient,) = torch.autograd.grad(model(pixels)[0, 1], pixels)
    assert bool(gradient.any())


def test_explanations_see_the_edited_network():
    case = NETWORKS["batch_norm"]
    model, pixels = case.model(), case.pixels()
    plain = seewhy.explain(model, pixels, "grad-cam", 1)
    with edited(model, {"5:2": ablate()}):
        e = seewhy.explain(model, pixels, "grad-cam", 1)
    assert not e.attribution[:, 2].any() and plain.attribution[:, 2].any()


def test_an_edit_does_not_change_which_layer_is_found():
    case = NETWORKS["vit"]
    model, pixels = seewhy.Model(case.build(), size=24), case.pixels()
    with edited(model, {"blocks.1.attn": ablate()}):
        model._layer_graphs.clear()  # as if these pictures were of a new size
        assert model.find_layer(pixels) == "blocks.1.norm1"
    assert model.find_layer(pixels) == "blocks.1.norm1"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_hooks_are_gone_after_an_exception(error: type[BaseException], unchanged: Callable):
    net, pixels = Body().eval(), torch.rand(1, 3, 16, 16)
    model = seewhy.Model(net, size=16)

    def fail(activation: Tensor) -> Tensor:
        raise error("in the edit")

    with unchanged(net):
        reported = UserCodeError if error is ValueError else error
        with pytest.raises(reported), edited(model, {"first": fail, "second": ablate()}):
            model(pixels)
        with pytest.raises(error), edited(model, {"first": ablate()}):
            raise error


# What does not exist


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("frist", "did you mean first"),
        ("first:6", "6 channels, counted from 0"),
        ("first@16,0", "16 rows and 16 columns"),
        ("relu#2", "relu runs 2 times"),
        ("fc@0,0", "no rows and columns"),
        ("fc:5", "5 channels"),
        ("first:", "layer:channel"),
    ],
)
def test_an_address_that_does_not_exist(address: str, words: str):
    model, pixels = seewhy.Model(Body(), size=16), torch.rand(1, 3, 16, 16)
    with pytest.raises(SeewhyError, match=words) as caught:
        capture(model, pixels, [address])
    assert "\n" not in str(caught.value)
    with pytest.raises(SeewhyError, match=words), edited(model, {address: ablate()}):
        model(pixels)


def test_a_layer_that_never_runs_is_unknown():
    net = Body()
    net.unused = nn.ReLU()
    with pytest.raises(Unknown):
        capture(seewhy.Model(net), torch.rand(1, 3, 16, 16), ["unused"])


# Outputs that are not tensors

Pair = namedtuple("Pair", ["maps", "mask"])


@dataclass
class Record:
    maps: Tensor
    mask: None = None


CONTAINERS = {
    "tuple": lambda x: (x, None),
    "list": lambda x: [None, x],
    "dict": lambda x: {"mask": None, "maps": x},
    "OrderedDict": lambda x: OrderedDict(maps=x),
    "namedtuple": lambda x: Pair(x, None),
    "dataclass": lambda x: Record(x),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_first_tensor_counts_and_the_container_stays(name: str):
    kinds: list[type] = []

    class Container(nn.Module):
        def forward(self, x: Tensor):
            return CONTAINERS[name](x)

    class Net(Body):
        def __init__(self):
            super().__init__()
            self.container = Container()

        def decide(self, x: Tensor) -> Tensor:
            output = self.container(x)
            kinds.append(type(output))
            return super().decide(first_tensor_of(output))

    net, pixels = Net().eval(), torch.rand(2, 3, 16, 16)
    model = seewhy.Model(net, size=16)
    found = capture(model, pixels, ["container", "relu"])
    assert torch.equal(found["container"], found["relu"])
    with edited(model, {"container:2": ablate()}):
        logits = model(pixels)
    maps = found["relu"].clone()
    maps[:, 2] = 0
    with torch.no_grad():
        torch.testing.assert_close(logits, net.fc(maps.mean((2, 3))))
    assert len(set(kinds)) == 1


def first_tensor_of(output) -> Tensor:
    if isinstance(output, dict):
        return output["maps"]
    if isinstance(output, list):
        return output[1]
    return output[0] if isinstance(output, tuple) else output.maps


@pytest.mark.parametrize("output", [None, "text", 3, (), {}, (None, "a")])
def test_no_tensor(output):
    assert first_tensor(output) is None


def test_logits_of_a_tapped_network_are_the_classes():
    model = NETWORKS["batch_norm"].model()
    assert capture(model, NETWORKS["batch_norm"].pixels(), ["6"])["6"].shape == (3, CLASSES)
