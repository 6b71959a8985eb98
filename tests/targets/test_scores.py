"""Attribution maps for every kind of target, compared with plain autograd in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, as_model
from seewhy.errors import NotApplicable, SeewhyError

MEAN = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1).double()
STD = torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1).double()
VECTOR = [0.5, -1.0, 2.0, 0.0, 1.5, -0.25, 0.75, 3.0]

# Network, target, and the score as a function of (logits, outputs of layers by name and call).
Outputs = dict[tuple[str, int], Tensor]
Written = Callable[[Tensor, Outputs], Tensor]
CASES: list[tuple[str, object, Written]] = [
    ("batch_norm", 3, lambda y, a: y[:, 3]),
    ("batch_norm", [0, 4, 1], lambda y, a: torch.stack([y[0, 0], y[1, 4], y[2, 1]])),
    ("batch_norm", seewhy.total(1, 3), lambda y, a: y[:, 1] + y[:, 3]),
    ("vit", seewhy.total(1, 3, weights=[0.5, -2]), lambda y, a: 0.5 * y[:, 1] - 2 * y[:, 3]),
    ("batch_norm", seewhy.difference(2, 0), lambda y, a: y[:, 2] - y[:, 0]),
    ("batch_norm", "0:4", lambda y, a: a["0", 0][:, 4].sum((1, 2))),
    # An in-place rectifier overwrites this output.
    ("batch_norm", "4:1", lambda y, a: a["4", 0][:, 1].sum((1, 2))),
    ("batch_norm", "4:1@3,5", lambda y, a: a["4", 0][:, 1, 3, 5]),
    ("reused_relu", "relu#0:2", lambda y, a: a["relu", 0][:, 2].sum((1, 2))),
    ("reused_relu", "relu:7", lambda y, a: a["relu", 1][:, 7].sum((1, 2))),
    ("hidden_layer", "4:3", lambda y, a: a["4", 0][:, 3]),
    ("vit", "blocks.0:3", lambda y, a: a["blocks.0", 0][:, 1:, 3].sum(1)),
    ("vit", "blocks.1.norm1:3@1,2", lambda y, a: a["blocks.1.norm1", 0][:, 1 + 4 + 2, 3]),
    ("swin_like", "blocks.0:3", lambda y, a: a["blocks.0", 0][..., 3].sum((1, 2))),
    ("swin_like", "norm:4@2,3", lambda y, a: a["norm", 0][:, 2, 3, 4]),
    (
        "residual_in_place",
        seewhy.direction("norm", VECTOR),
        lambda y, a: (a["norm", 0] * torch.tensor(VECTOR).view(1, 8, 1, 1)).sum((1, 2, 3)),
    ),
    (
        "vit",
        seewhy.direction("blocks.0", torch.tensor(VECTOR)),
        lambda y, a: (a["blocks.0", 0][:, 1:] * torch.tensor(VECTOR)).sum((1, 2)),
    ),
    (
        "hidden_layer",
        seewhy.direction("5", VECTOR),
        lambda y, a: (a["5", 0] * torch.tensor(VECTOR)).sum(1),
    ),
    (
        "batch_norm",
        ["3:2", 4, seewhy.difference(0, 1)],
        lambda y, a: torch.stack([a["3", 0][0, 2].sum(), y[1, 4], y[2, 0] - y[2, 1]]),
    ),
]
IDS = [f"{network}-{target}"[:60] for network, target, _ in CASES]
each_case = pytest.mark.parametrize(("network", "target", "written"), CASES, ids=IDS)


def run(net: nn.Module, x: Tensor) -> tuple[Tensor, Outputs]:
    """Logits and the output of every call of every module, in plain torch."""
    outputs: Outputs = {}

    def keep(name: str) -> Callable:
        def hook(module: nn.Module, args: object, output: object) -> Tensor | None:
            if not isinstance(output, Tensor):
                return None
            call = sum(known == name for known, _ in outputs)
            outputs[name, call] = kept = output.clone()
            return kept.clone()  # later operations may overwrite it

        return hook

    handles = [m.register_forward_hook(keep(name)) for name, m in net.named_modules() if name]
    try:
        return net((x - MEAN) / STD), outputs
    finally:
        for handle in handles:
            handle.remove()


def prepared(network: str) -> tuple[nn.Module, seewhy.Model, Tensor]:
    net = NETWORKS[network].build().double()
    return net, as_model(net), NETWORKS[network].pixels().double()


def gradient(net: nn.Module, x: Tensor, written: Written) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    score = written(*run(net, x))
    return score.detach(), torch.autograd.grad(score.sum(), x)[0]


def assert_close(found: Tensor, expected: Tensor) -> None:
    expected = expected.detach()
    scale = float(expected.abs().max())
    assert scale > 0
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6 * scale)


@each_case
def test_gradient_and_score(network: str, target: object, written: Written):
    net, model, x = prepared(network)
    score, expected = gradient(net, x, written)
    e = seewhy.explain(model, x, "gradient", target)
    assert_close(e.attribution, expected)
    assert_close(e.score, score)


@each_case
def test_input_x_gradient(network: str, target: object, written: Written):
    net, model, x = prepared(network)
    _, pulled = gradient(net, x, written)
    e = seewhy.explain(model, x, "input-x-gradient", target)
    assert_close(e.heatmap, ((x - MEAN) * pulled).sum(1))


@each_case
@pytest.mark.parametrize("batch_size", [2, 3])
def test_integrated_gradients(network: str, target: object, written: Written, batch_size: int):
    """Compare with an explicit quadrature, and its residual."""
    net, model, x = prepared(network)
    total = torch.zeros_like(x)
    # The two Gauss-Legendre nodes in [0, 1] have equal weights.
    for node in (0.5 - 3**-0.5 / 2, 0.5 + 3**-0.5 / 2):
        total += gradient(net, MEAN + node * (x - MEAN), written)[1] / 2
    e = seewhy.explain(model, x, "integrated-gradients", target, steps=2, batch_size=batch_size)
    expected = (x - MEAN) * total
    assert_close(e.attribution, expected)
    score, start = gradient(net, x, written)[0], gradient(net, MEAN.expand_as(x), written)[0]
    missing = (expected.sum((1, 2, 3)) - (score - start)).abs() / (score - start).abs()
    torch.testing.assert_close(e.residual, missing.float(), rtol=1e-2, atol=1e-4)


@each_case
def test_smoothgrad_without_noise_is_the_gradient(network: str, target, written: Written):
    net, model, x = prepared(network)
    e = seewhy.explain(model, x, "smoothgrad", target, samples=3, noise=0.0, batch_size=3)
    assert_close(e.attribution, gradient(net, x, written)[1])


@pytest.mark.parametrize(
    ("network", "target", "layer", "call", "written"),
    [
        ("batch_norm", seewhy.total(1, 3), "5", 0, lambda y, a: y[:, 1] + y[:, 3]),
        ("batch_norm", seewhy.difference(1, 3), "2", 0, lambda y, a: y[:, 1] - y[:, 3]),
        ("batch_norm", "4:1", "2", 0, lambda y, a: a["4", 0][:, 1].sum((1, 2))),
        ("batch_norm", "4:1@3,5", "3", 0, lambda y, a: a["4", 0][:, 1, 3, 5]),
        ("batch_norm", "4:1", "4", 0, lambda y, a: a["4", 0][:, 1].sum((1, 2))),
        ("reused_relu", "relu#1:2", "relu#0", 0, lambda y, a: a["relu", 1][:, 2].sum((1, 2))),
        ("hidden_layer", "4:3", "1", 0, lambda y, a: a["4", 0][:, 3]),
        (
            "residual_in_place",
            seewhy.direction("norm", VECTOR),
            "second",
            0,
            lambda y, a: (a["norm", 0] * torch.tensor(VECTOR).view(1, 8, 1, 1)).sum((1, 2, 3)),
        ),
    ],
    ids=lambda value: "written" if callable(value) else str(value),  # the same in every process
)  # fmt: skip
@pytest.mark.parametrize("together", [[], ["gradient"]], ids=["alone", "with-the-input"])
def test_grad_cam(network: str, target, layer: str, call: int, written: Written, together: list):
    """Also if the graph starts at the target layer itself."""
    net, model, x = prepared(network)
    logits, outputs = run(net, x.requires_grad_())
    maps = outputs[layer.partition("#")[0], call]
    (pulled,) = torch.autograd.grad(written(logits, outputs).sum(), maps)
    expected = (pulled.mean((2, 3), keepdim=True) * maps).sum(1).relu()
    panel = seewhy.compare(model, x.detach(), ["grad-cam", *together], target, layer=layer)
    assert not panel.skipped
    found = panel["grad-cam"]
    assert_close(found.attribution.sum(1).relu(), expected)
    assert found.provenance.layer == layer and not found.provenance.layer_chosen


def test_the_layer_is_found_before_the_unit():
    _, model, x = prepared("batch_norm")
    found = seewhy.explain(model, x, "grad-cam", "3:1")
    assert found.provenance.layer == "3" and found.provenance.layer_chosen
    assert found.provenance.parameters["layer"] is None
    asked = seewhy.explain(model, x, "grad-cam", "3:1", layer="3")
    assert torch.equal(found.heatmap, asked.heatmap) and bool(found.heatmap.any())


@pytest.mark.parametrize("together", [[], ["gradient"]], ids=["alone", "with-the-input"])
def test_a_layer_behind_the_unit_is_refused(together: list[str]):
    _, model, x = prepared("batch_norm")
    panel = seewhy.compare(model, x, ["grad-cam", *together], "0:1", layer="5")
    (reason,) = dict(panel.skipped).values()
    assert reason.startswith("0:1 does not depend on 5; name a shallower layer")
    assert [e.method for e in panel] == together


@pytest.mark.parametrize("network", ["batch_norm", "class_maps", "swin_like"])
def test_cam_of_a_sum_is_the_sum_of_the_cams(network: str):
    _, model, x = prepared(network)
    dog, cat = (seewhy.explain(model, x, "cam", index) for index in (3, 1))
    found = seewhy.explain(model, x, "cam", seewhy.total(3, 1, weights=[2.0, -0.5]))
    assert_close(found.heatmap, (2 * dog.heatmap - 0.5 * cat.heatmap).double())
    assert found.residual is not None and float(found.residual.max()) < 1e-3


@pytest.mark.parametrize("target", ["3:1", ["3:1", 1, 2], seewhy.direction("3", VECTOR)], ids=str)
def test_cam_of_a_hidden_unit_is_refused(target):
    _, model, x = prepared("batch_norm")
    with pytest.raises(NotApplicable, match="a hidden unit is neither"):
        seewhy.explain(model, x, "cam", target)


@pytest.mark.parametrize("target", [seewhy.difference(0, 2), "4:1", "4:3@2,2"], ids=str)
def test_the_full_gradient_sums_to_any_score(target):
    """The sum is exact for this network (Srinivas and Fleuret, proposition 1)."""
    _, model, x = prepared("batch_norm")
    e = seewhy.explain(model, x, "fullgrad", target)
    assert e.residual is not None and float(e.residual.max()) < 1e-4


# Several targets


ASKED = (None, 3, seewhy.difference(2, 0), "3:1", "3:5@2,2", [1, "3:2", 4])
METHODS = ("gradient", "guided-backprop", "fullgrad", "input-x-gradient", "integrated-gradients")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [None, 2], ids=["at-once", "in-parts"])
def test_several_questions_are_answered_as_each_alone(method: str, batch_size: int | None):
    case = NETWORKS["batch_norm"]
    model, x = case.model(), case.pixels()
    e = seewhy.explain(model, x, method, seewhy.each(*ASKED), batch_size=batch_size)
    assert len(e) == len(ASKED) * 3
    for number, target in enumerate(ASKED):
        alone = seewhy.explain(model, x, method, target, batch_size=batch_size)
        part = e[3 * number : 3 * number + 3]
        for name in ("logits", "target", "score"):
            assert torch.equal(getattr(part, name), getattr(alone, name)), (name, target)
        for name in ("heatmap", "attribution"):
            # Without hidden units as targets, variants run with folded normalisations.
            one, other = getattr(part, name), getattr(alone, name)
            assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max()), target
        assert part.target_names == alone.target_names
        assert torch.equal(part.batch.pixels, x)


def test_several_questions_about_layers_read_by_name():
    case = NETWORKS["batch_norm"]
    model, x = case.model(), case.pixels()
    target = seewhy.each(1, "3:1", "5:2")
    e = seewhy.explain(model, x, "grad-cam", target, layer="2")
    for number, one in enumerate(target.targets):
        alone = seewhy.explain(model, x, "grad-cam", one, layer="2")
        assert torch.equal(e[3 * number : 3 * number + 3].heatmap, alone.heatmap)
    found = seewhy.explain(model, x, "grad-cam", target)
    assert found.provenance.layer == "3", "one for all targets: the deepest all depend on"


def test_several_questions_cost_one_forward():
    case = NETWORKS["batch_norm"]
    net = case.build()
    model, x = as_model(net), case.pixels()
    target = seewhy.each(0, 1, "3:1", seewhy.total(1, 2))
    seewhy.explain(model, x, "gradient", target)  # traces the layers
    runs: list[int] = []
    handle = net.register_forward_hook(lambda module, args, output: runs.append(len(output)))
    panel = seewhy.compare(model, x, ["gradient", "guided-backprop", "grad-cam"], target)
    handle.remove()
    assert runs == [3]
    for e in panel:
        assert (e.cost.forwards, e.cost.backwards) == (1, 1)
    assert panel["gradient"].cost.shared == 1, "the forward pass; the backward is its own"
    assert panel["grad-cam"].cost.shared == 2, "and the backward pass of the gradient"


def test_a_method_that_cannot_answer_one_question_answers_none():
    case = NETWORKS["batch_norm"]
    target = seewhy.each(1, "3:1")
    panel = seewhy.compare(case.model(), case.pixels(), ["cam", "gradient"], target)
    assert [e.method for e in panel] == ["gradient"] and "cam" in dict(panel.skipped)
    with pytest.raises(NotApplicable, match="hidden unit"):
        seewhy.explain(case.model(), case.pixels(), "cam", target)


def test_progress_rises_over_all_questions():
    case = NETWORKS["batch_norm"]
    told: list[float] = []
    seewhy.compare(
        case.model(), case.pixels(), ["gradient", "cam", "smoothgrad"],
        seewhy.each(1, "3:1", 2), batch_size=2, progress=lambda name, share: told.append(share),
    )  # fmt: skip
    assert told == sorted(told) and told[0] >= 0 and told[-1] == pytest.approx(1)


# Unmodified networks, edits, precision and folded batches


@pytest.mark.parametrize("target", ["second:1", seewhy.direction("second", VECTOR)], ids=str)
def test_the_network_is_left_as_it_was(target, unchanged: Callable):
    case = NETWORKS["dropout"]
    net = case.build()
    with unchanged(net):
        seewhy.compare(as_model(net), case.pixels(), ["gradient", "smoothgrad"], target)


def test_units_under_an_edit_are_those_of_the_edited_network():
    case = NETWORKS["batch_norm"]
    model, x = case.model(), case.pixels()
    plain = seewhy.explain(model, x, "gradient", "3:1")
    with seewhy.edited(model, {"3": seewhy.scale(2.0)}):
        twice = seewhy.explain(model, x, "gradient", "3:1")
        late = seewhy.explain(model, x, "gradient", "2:1")
    torch.testing.assert_close(twice.score, 2 * plain.score)
    torch.testing.assert_close(twice.attribution, 2 * plain.attribution)
    assert torch.equal(late.score, seewhy.explain(model, x, "gradient", "2:1").score)


def test_units_in_bfloat16_are_added_up_in_more():
    case = NETWORKS["batch_norm"]
    full = seewhy.explain(case.model(), case.pixels(), "gradient", "3:1")
    fast = seewhy.explain(case.model(), case.pixels(), "gradient", "3:1", precision="fast")
    assert fast.score.dtype == torch.float32 and not torch.equal(fast.score, full.score)
    torch.testing.assert_close(fast.score, full.score, rtol=0.05, atol=0.05)


def test_a_layer_that_has_windows_in_its_batch_is_refused():
    case = NETWORKS["swin_like"]
    with pytest.raises(SeewhyError, match="did not run once for the whole batch"):
        seewhy.explain(case.model(), case.pixels(), "gradient", "blocks.0.attn:1")
