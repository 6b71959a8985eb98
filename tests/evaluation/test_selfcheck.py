"""The table of a self-check: all is well on sound networks, and each fault shows in its row."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, Body, as_model
from seewhy.errors import SeewhyError, UserCodeError
from seewhy.evaluation.checks.check import DIFFERS, NOT_APPLICABLE, OK, Check
from seewhy.images import Preparation
from seewhy.perturbation.windowed import Windowed

REAL = os.environ.get("SEEWHY_REAL")
SIZE = 24
PICTURE = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


def seeded(make: type[nn.Module], *arguments: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make(*arguments).eval()


def checked(net: nn.Module | seewhy.Model) -> seewhy.SelfCheck:
    return seewhy.selfcheck(net if isinstance(net, seewhy.Model) else as_model(net), PICTURE)


def names(rows: tuple[Check, ...]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("name", ["pools", "batch_norm", "vit", "swin_like", "double"])
def test_all_is_well_on_sound_networks(name: str, unchanged):
    case = NETWORKS[name]
    model = case.model()
    with unchanged(model.net):
        check = seewhy.selfcheck(model, case.pixels(1)[0])
    assert check.ok, check.summary()
    measured = {row.name.partition(" (")[0]: row for row in check.checks if row.value is not None}
    for needed in (
        "logits in a batch", "gradient in a batch", "gradient and finite differences",
        "memory format", "incremental windows", "cells of the default layer", "lrp-epsilon",
        "deep-lift", "fullgrad", "integrated-gradients", "applicable", "the network is as it was",
    ):  # fmt: skip
        assert needed in measured, f"{needed} was not measured"
    assert measured["gradient and finite differences"].value < 1e-4
    assert measured["lrp-epsilon"].value < 1e-3
    applicable = measured["applicable"].value
    rows = [row for row in check.checks if row.topic == "methods" and row.name != "applicable"]
    assert applicable + len(rows) == sum(m.in_sweeps for m in seewhy.methods().values())


def test_methods_that_do_not_apply_are_those_that_a_panel_skips():
    for name in ("vit", "perceptron", "class_maps"):
        case = NETWORKS[name]
        check = seewhy.selfcheck(case.model(), case.pixels(1)[0])
        rows = {row.name: row.reason for row in check.checks if row.topic == "methods"}
        rows.pop("applicable")
        fast = {"occlusion": {"window": 12, "stride": 12}, "smoothgrad": {"samples": 2}}
        methods = [m(**fast.get(n, {})) for n, m in seewhy.methods().items() if m.in_sweeps]
        quick = [m for m in methods if not m.costly or m.name in ("occlusion", "ablation-cam")]
        skipped = dict(seewhy.compare(case.model(), case.pixels(1), quick).skipped)
        asked = {m.name for m in quick}
        assert {n: why for n, why in rows.items() if n in asked} == skipped


# Pictures that change each other's answer


class Centred(Body):
    """Subtracts the mean over the batch."""

    def decide(self, x: Tensor) -> Tensor:
        return super().decide(x - x.mean(0, keepdim=True) / 2)


class BatchStatistics(Body):
    """A batch normalisation without running statistics, which uses those of the batch."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

    def decide(self, x: Tensor) -> Tensor:
        return super().decide(self.norm(x))


@pytest.mark.parametrize("net", [Centred, BatchStatistics])
def test_pictures_that_change_each_other(net: type[nn.Module]):
    check = checked(seeded(net))
    assert {"logits in a batch", "gradient in a batch"} <= set(names(check.differing))
    assert check["repeatable"].verdict == OK


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "occlusion", "smoothgrad"])
def test_they_are_explained_one_by_one(method: str):
    model = as_model(seeded(BatchStatistics))
    pixels = torch.stack([PICTURE, PICTURE / 4])
    options = {"window": 8, "stride": 8} if method == "occlusion" else {}
    both = seewhy.explain(model, pixels, method, 1, **options)
    for index in range(2):
        single = seewhy.explain(model, pixels[index], method, 1, batch_size=1, **options)
        torch.testing.assert_close(both.heatmap[index], single.heatmap[0])
        torch.testing.assert_close(both.logits[index], model(pixels[index, None])[0])
    assert any("explained one by one" in note for note in both.notes)
    sound = seewhy.explain(NETWORKS["batch_norm"].model(), pixels, method, 1, **options)
    assert not any("one by one" in note for note in sound.notes)


def test_what_runs_several_at_once_refuses_them():
    model, pixels = as_model(seeded(Centred)), torch.stack([PICTURE, PICTURE / 4])
    with pytest.raises(SeewhyError, match="depend on the other pictures") as error:
        seewhy.relevant_channels(model, pixels, layer="second")
    assert "batch_size=1" in str(error.value) and "\n" not in str(error.value)
    found = seewhy.relevant_channels(model, pixels, layer="second", batch_size=1)
    assert len(found) == 2


class Random(Body):
    def decide(self, x: Tensor) -> Tensor:
        return super().decide(F.dropout(x, 0.5, training=True))


def test_a_random_network_does_not_mix_pictures():
    model = as_model(seeded(Random))
    check = checked(model)
    assert check["repeatable"].verdict == DIFFERS and "random" in check["repeatable"].reason
    assert not model.mixes_pictures


class OneAtATime(Body):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise RuntimeError("one picture only")
        return super().forward(x)


def test_a_network_that_takes_one_picture_only():
    check = checked(seeded(OneAtATime))
    (row,) = [row for row in check.checks if row.topic == "batch"]
    assert row.verdict == DIFFERS and "RuntimeError: one picture only" in row.reason
    assert check["gradient and finite differences"].verdict == OK


# Gradients that are wrong


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return cotangent * torch.linspace(1, 2, cotangent.shape[-1]).to(cotangent)


class WrongBackward(Body):
    def features(self, x: Tensor) -> Tensor:
        return Doubled.apply(super().features(x))


class Detached(Body):
    """The score comes from the picture in two ways, and one of them has no gradient."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) + super().features(x.flip(2)).detach()


class Rounded(Body):
    """A straight-through estimator: steps in the forward pass, none in the backward pass."""

    def features(self, x: Tensor) -> Tensor:
        x = super().features(x)
        return x + ((4 * x).round() / 4 - x).detach()


@pytest.mark.parametrize("net", [WrongBackward, Detached, Rounded])
def test_a_gradient_that_is_not_the_slope(net: type[nn.Module]):
    check = checked(seeded(net))
    row = check["gradient and finite differences"]
    assert row.verdict == DIFFERS and row.value is not None and row.value > 0.01
    assert {row.name for row in check.differing if row.topic in ("batch", "speed")} == set()


def test_integrated_gradients_settle_at_another_value():
    row = checked(seeded(WrongBackward))["integrated-gradients"]
    assert row.verdict == DIFFERS and "settles" in row.reason


class SingleOnly(Body):
    """Works in float32 only, so that differences are taken in that type."""

    def features(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        return super().features(x)


class SingleOnlyWrong(SingleOnly):
    def features(self, x: Tensor) -> Tensor:
        return Doubled.apply(super().features(x))


def test_a_network_without_float64():
    right, wrong = (
        checked(seeded(net))["gradient and finite"] for net in (SingleOnly, SingleOnlyWrong)
    )
    assert "its own type" in right.measured
    assert (right.verdict, wrong.verdict) == (OK, DIFFERS)


class NoGradient(Body):
    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().features(x)


def test_a_network_without_a_gradient_says_why():
    check = checked(seeded(NoGradient))
    for name in ("gradient in a batch", "gradient and finite differences", "lrp-epsilon"):
        assert check[name].verdict == NOT_APPLICABLE
        assert "no_grad" in check[name].reason
    assert check["logits in a batch"].verdict == OK
    assert "occlusion" not in names(check.checks), "it still applies"


# Memory formats


class ReadsMemory(torch.autograd.Function):
    """The right forward pass; the backward pass takes memory to be contiguous."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        strides = torch.empty(cotangent.shape).stride()
        return cotangent.as_strided(cotangent.shape, strides).clone()


class WrongChannelsLast(Body):
    """Equal logits in both formats, and another gradient channels-last."""

    def features(self, x: Tensor) -> Tensor:
        return self.relu(self.second(ReadsMemory.apply(self.relu(self.first(x)))))


class Strided(Body):
    """Reads its maps by `as_strided`, which is silently wrong channels-last."""

    def decide(self, x: Tensor) -> Tensor:
        rows = x.as_strided((len(x), 8, 12), (8 * 144, 144, 1))
        return self.fc(rows.mean(2) + x.mean((2, 3)))


@pytest.mark.parametrize("net", [WrongChannelsLast, Strided])
def test_a_wrong_memory_format_is_not_used(net: type[nn.Module]):
    model = as_model(seeded(net))
    found = seewhy.explain(model, PICTURE, "gradient", 1)
    assert model._memory_format is torch.contiguous_format
    pixels = PICTURE[None].clone().requires_grad_()
    normal = (pixels - model.mean) / model.std
    (expected,) = torch.autograd.grad(model.net(normal)[0, 1], pixels)
    torch.testing.assert_close(found.attribution, expected)
    check = checked(model)
    assert check["memory format (contiguous): gradient"].verdict == OK


@pytest.mark.parametrize(("net", "row"), [(WrongChannelsLast, "gradient"), (Strided, "logits")])
def test_a_wrong_memory_format_shows(net: type[nn.Module], row: str):
    model = as_model(seeded(net))
    model._memory_format = torch.channels_last
    assert checked(model)[f"memory format (channels last): {row}"].verdict == DIFFERS


# What runs for speed


def test_a_wrong_fold_shows(monkeypatch):
    from seewhy.engine import inference

    def fold(net: nn.Module, convolution: str, norm: str) -> None:
        net.set_submodule(norm, nn.Identity())

    monkeypatch.setattr(inference, "_fold", fold)
    refused = checked(NETWORKS["batch_norm"].build())
    assert refused["folded batch normalisations"].verdict == NOT_APPLICABLE, "it is not used"
    monkeypatch.setattr(inference, "_if_equal", lambda expected, probe, bound, fast: fast)
    check = checked(NETWORKS["batch_norm"].build())
    rows = [row for row in check.checks if "folded" in row.name]
    assert [row.verdict for row in rows] == [DIFFERS, DIFFERS]


def test_wrong_windows_show(monkeypatch):
    scores = Windowed.scores
    monkeypatch.setattr(Windowed, "scores", lambda *given: scores(*given) * 1.01)
    assert "incremental windows" in names(checked(NETWORKS["pools"].build()).differing)

    def fails(*given: Any) -> Tensor:
        raise ValueError("not local")

    monkeypatch.setattr(Windowed, "scores", fails)
    row = checked(NETWORKS["pools"].build())["incremental windows"]
    assert row.verdict == NOT_APPLICABLE and "not local" in row.reason


# Sums


class Inverse(Body):
    def decide(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3))
        near = torch.eye(8).to(x) + means[:, :, None] * means[:, None]
        return self.fc((torch.linalg.inv(near) @ means[:, :, None])[..., 0])


def test_operations_without_a_rule_are_named():
    check = checked(seeded(Inverse))
    for method in ("lrp-epsilon", "deep-lift"):
        assert check[method].verdict == NOT_APPLICABLE
        assert "torch's linalg_inv" in check[method].reason
    assert check["gradient and finite differences"].verdict == OK


class Square(torch.autograd.Function):
    """A function that no tape can see into."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return 2 * ctx.saved_tensors[0] * cotangent


class Unseen(Body):
    def features(self, x: Tensor) -> Tensor:
        return Square.apply(super().features(x))


def test_relevance_that_is_counted_twice_shows():
    check = checked(seeded(Unseen))
    assert {"lrp-epsilon", "deep-lift", "fullgrad"} <= set(names(check.differing))
    assert check["gradient and finite differences"].verdict == OK


class Cancelling(Body):
    """Adds a large number and takes it away, so that float32 keeps little of the score."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.first.weight *= 3e3
            self.first.bias *= 3e3
            self.second.weight[:4] = self.second.weight[4:]
            self.second.bias[:4] = self.second.bias[4:]
            self.fc.weight[:, :4] = -self.fc.weight[:, 4:] * (1 - 1e-5)


class Tiny(Body):
    """Activations so small that the default epsilon keeps most of the relevance."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.first.weight *= 1e-4
            for layer in (self.first, self.second, self.fc):
                layer.bias.zero_()


@pytest.mark.parametrize(("net", "method"), [(Cancelling, "deep-lift"), (Tiny, "lrp-epsilon")])
def test_rounding_and_epsilon_are_told_from_relevance_that_is_lost(
    net: type[nn.Module], method: str
):
    check = checked(seeded(net))
    row = check[method]
    assert row.verdict == NOT_APPLICABLE and "in float64" in row.reason, check.summary()
    assert row.value is not None and row.value > 0.01


# The default layer


class Mirrored(Body):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x.flip(3))


class Shuffled(Body):
    """Rows of cells in another order."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x.roll(x.shape[2] // 2, 2))


@pytest.mark.parametrize("net", [Mirrored, Shuffled])
def test_cells_that_lie_elsewhere(net: type[nn.Module]):
    assert [n.partition(" (")[0] for n in names(checked(seeded(net)).differing)] == [
        "cells of the default layer"
    ]


# What is assumed


class Blind(Body):
    """The same answer for every picture."""

    def forward(self, x: Tensor) -> Tensor:
        return 0 * super().forward(x) + torch.arange(5.0)


def test_a_network_that_ignores_the_picture():
    check = checked(seeded(Blind))
    assert {
        "the score depends on the picture",
        "the score has a gradient at the pixels",
        "the score has a gradient at the default layer",
    } <= {row.name.partition(" (")[0] for row in check.differing}


class ByHand(Body):
    def __init__(self, last: str):
        super().__init__()
        self.last = last

    def decide(self, x: Tensor) -> Tensor:
        logits = super().decide(x)
        match self.last:
            case "softmax":
                return logits.exp() / logits.exp().sum(1, keepdim=True)
            case "log":
                return logits - logits.logsumexp(1, keepdim=True)
            case "sigmoid":
                return logits.sigmoid()
            case "scores":
                return logits.exp() / logits.exp().sum(1, keepdim=True)
        return logits.softmax(1)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("softmax", "5 values: probabilities"),
        ("sigmoid", "5 logits: the input of the sigmoid"),
        ("torch", "5 logits: the input of the softmax"),
    ],
)
def test_outputs_are_found_out(last: str, words: str):
    row = checked(seeded(ByHand, last))["outputs"]
    assert row.verdict == OK and words in row.reason


def test_outputs_are_what_is_said():
    scores = seewhy.Model(
        seeded(ByHand, "scores"), mean=0.5, std=0.2, preparation=Preparation(), outputs="scores"
    )
    assert checked(scores)["outputs"].reason == "5 values: scores"
    assert checked(NETWORKS["pools"].build())["outputs"].reason == "5 logits"


def test_preprocessing_that_is_not_known():
    row = checked(seewhy.Model(NETWORKS["pools"].build()))["preprocessing"]
    assert row.verdict == NOT_APPLICABLE and "nothing is known" in row.reason
    assert "mean 0.4, 0.5, 0.6" in checked(NETWORKS["pools"].build())["preprocessing"].reason


# The state


class Counts(Body):
    """Writes into a parameter whenever it runs."""

    def decide(self, x: Tensor) -> Tensor:
        logits = super().decide(x)
        with torch.no_grad():
            self.fc.bias.data.add_(1e-7)
        return logits


class Hooks(Body):
    """Leaves a hook whenever it runs."""

    def decide(self, x: Tensor) -> Tensor:
        self.relu.register_forward_hook(lambda module, given, output: None)
        return super().decide(x)


@pytest.mark.parametrize(("net", "what"), [(Counts, "fc.bias"), (Hooks, "relu._forward_hooks")])
def test_a_network_that_changes(net: type[nn.Module], what: str):
    row = checked(seeded(net))["the network is as it was"]
    assert row.verdict == DIFFERS and what in row.reason


# The result


def test_the_table_in_words_and_numbers():
    check = checked(seeded(Mirrored))
    told = check.summary()
    assert max(map(len, told.splitlines())) <= 100
    (row,) = check.differing
    assert f"DIFFERS  {row.name}" in told and row.reason[:60] in told
    data = check.to_dict()
    assert data["ok"] is False and data["counts"]["differs"] == 1
    assert [r["name"] for r in data["checks"]] == names(check.checks)
    with pytest.raises(SeewhyError, match="unknown check"):
        check["no such row"]


def test_one_picture_or_none():
    with pytest.raises(SeewhyError, match="one picture, got 2"):
        seewhy.selfcheck(NETWORKS["pools"].model(), torch.stack([PICTURE, PICTURE]))
    assert "rendered room" in seewhy.selfcheck("scenes").picture


def test_an_error_of_the_network_is_its_own():
    class Broken(Body):
        def decide(self, x: Tensor) -> Tensor:
            raise ZeroDivisionError("inside the network")

    with pytest.raises(UserCodeError, match="inside the network in decide"):
        checked(Broken())


@pytest.mark.skipif(not REAL, reason="SEEWHY_REAL names no folder of real models")
def test_a_network_trained_on_photographs():
    weights = f"{REAL}/models/squeezenet1_1_imagenet_fp16.safetensors"
    photo = sorted(Path(f"{REAL}/images/imagenet").glob("*tench*.jpg"))[0]
    check = seewhy.selfcheck(seewhy.open_model("torchvision/squeezenet1_1", weights), photo)
    assert check.ok, check.summary()
    assert check.target == "tench" and check.size == (224, 224)
    json.dumps(check.to_dict(), allow_nan=False)


def test_a_black_box_has_what_needs_no_gradient():
    check = seewhy.selfcheck(seewhy.black_box(lambda pixels: pixels.mean((2, 3))), PICTURE)
    assert check.ok, check.summary()
    assert check["logits in a batch"].verdict == OK
    assert "black box" in check["gradient and finite differences"].reason
    rows = {row.name for row in check.checks if row.topic == "methods"}
    assert rows.isdisjoint({"occlusion", "rise", "lime", "kernel-shap"})
