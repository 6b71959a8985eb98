"""Networks that end in a softmax are explained as the same networks without it."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, as_model
from seewhy.attribution.method import REGISTRY
from test_contract import quick

CASE = NETWORKS["batch_norm"]


class Ending(nn.Module):
    """A network, and a function of its logits."""

    def __init__(self, end: Callable[[Tensor], Tensor]):
        super().__init__()
        self.net, self.end = CASE.build(), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.net(x))


ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda z: z.softmax(1),
    "softmax of F": lambda z: F.softmax(z, dim=-1),
    "softmax module": nn.Softmax(1),
    "log-softmax": lambda z: torch.log_softmax(z, 1),
    "log-softmax module": nn.LogSoftmax(1),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_logits_are_those_before_it(end: str):
    pixels = CASE.pixels()
    model, plain = as_model(Ending(ENDS[end]).eval()), CASE.model()
    torch.testing.assert_close(model(pixels), plain(pixels))
    e = seewhy.explain(model, pixels, "grad-cam", 1)
    expected = seewhy.explain(plain, pixels, "grad-cam", 1)
    assert e.top(1) == expected.top(1)
    kind = "log-softmax" if "log" in end else "softmax"
    assert f"the network ends in a {kind}; the logits before it are explained" in e.notes


@pytest.mark.parametrize(
    "method",
    [
        "gradient", "grad-cam", "lrp-epsilon-plus", "deep-lift", "excitation-backprop", "occlusion",
        "ablation-cam", "score-cam", "rise", "integrated-gradients", "guided-backprop", "fullgrad",
    ],
)  # fmt: skip
def test_the_map_is_that_without_it(method: str):
    assert method in REGISTRY
    pixels = CASE.pixels(2)
    layer = {"layer": "net.2"} if REGISTRY[method].reads_layer else {}
    there = {"layer": "2"} if layer else {}
    found = seewhy.explain(
        as_model(Ending(ENDS["softmax"]).eval()), pixels, quick_of(method, layer), 1
    )
    expected = seewhy.explain(CASE.model(), pixels, quick_of(method, there), 1)
    scale = float(expected.heatmap.abs().max())
    torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=1e-4, atol=1e-4 * scale)


def quick_of(method: str, options: dict[str, str]) -> seewhy.Method:
    return type(quick(method))(**quick(method).parameters | options)


def test_a_sigmoid_of_one_output_is_a_probability_already():
    net = nn.Sequential(CASE.build(), nn.Linear(CLASSES, 1), nn.Sigmoid()).eval()
    e = seewhy.explain(as_model(net), CASE.pixels(), "gradient", 0)
    with torch.no_grad():
        probability = net((CASE.pixels() - as_model(net).mean) / as_model(net).std)
    torch.testing.assert_close(e.logits.sigmoid(), probability)
    assert "the network ends in a sigmoid; the logits before it are explained" in e.notes


@pytest.mark.parametrize("end", [lambda z: z.softmax(1) * 2, lambda z: z.softmax(0), lambda z: z])
def test_what_is_no_probability_of_a_class_is_left_alone(end):
    net = Ending(end).eval()
    model = as_model(net)
    with torch.no_grad():
        expected = net((CASE.pixels() - model.mean) / model.std)
    torch.testing.assert_close(model(CASE.pixels()), expected)


def test_scores_are_left_alone():
    net = Ending(ENDS["softmax"]).eval()
    model = seewhy.Model(net, outputs="scores")
    e = seewhy.explain(model, CASE.pixels(), "gradient", 1)
    torch.testing.assert_close(e.score, net(CASE.pixels())[:, 1].detach())
    assert not any("ends in" in note for note in e.notes)
