from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, Body, raw_batch
from seewhy.attribution.methods.grad_cam import GradCAM
from seewhy.errors import NotApplicable, SeewhyError, Unknown

PIXELS = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> seewhy.Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return seewhy.Model(Body(), classes=["ant", "bee", "cat", "dog", "eel"])


@pytest.mark.parametrize("method", ["grad-cam", GradCAM, GradCAM()])
def test_a_method_by_name_class_or_instance(model: seewhy.Model, method):
    e = seewhy.explain(model, PIXELS, method, layer="second", relu=False)
    assert e.method == "grad-cam" and e.signed
    assert dict(e.provenance.parameters) == {"layer": "second", "relu": False}
    assert e.provenance.layer == "second" and not e.provenance.layer_chosen


def test_a_bare_network_is_wrapped():
    net = Body()
    assert seewhy.explain(net, PIXELS).provenance.model == "Body"


def test_the_heatmap_is_the_coarse_map_bilinear(model: seewhy.Model):
    e = seewhy.explain(model, PIXELS, "grad-cam", layer="second", relu=False)
    coarse = e.attribution.sum(1, keepdim=True)
    assert coarse.shape == (4, 1, 8, 8)
    fine = F.interpolate(coarse, (16, 16), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(e.heatmap, fine)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (2, [2] * 4),
        ("dog", [3] * 4),
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        (["ant", 1, "2", "dog"], [0, 1, 2, 3]),
        (torch.tensor([3, 2, 1, 0]), [3, 2, 1, 0]),
        (torch.tensor(2), [2] * 4),
        (np.int64(2), [2] * 4),
        (np.array([3, 2, 1, 0]), [3, 2, 1, 0]),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_targets_stay_with_their_pictures(model, target, expected: list[int], batch_size: int):
    e = seewhy.explain(model, PIXELS, "gradient", target, batch_size=batch_size)
    assert e.target.tolist() == expected
    whole = seewhy.explain(model, PIXELS, "gradient", expected)
    torch.testing.assert_close(e.heatmap, whole.heatmap, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("target", [[0], [0, 1], [0, 1, 2, 3, 4], []], ids=str)
def test_one_target_for_each_picture(model: seewhy.Model, target: list, batch_size: int):
    """Also if the number of targets equals the size of a batch."""
    with pytest.raises(SeewhyError, match=f"{len(target)} targets for 4 pictures"):
        seewhy.explain(model, PIXELS, "gradient", target, batch_size=batch_size)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "gradcam"}, "unknown method 'gradcam'; did you mean grad-cam"),
        ({"method": "zzz"}, "unknown method .zzz.; there are .*cam"),
        ({"method": "grad-cam", "layer": "secnod"}, "did you mean second"),
        ({"method": "grad-cam", "layer": "fc"}, "no rows and columns"),
        ({"method": "grad-cam", "layer": "a:b"}, "cannot read the address"),
        ({"method": "grad-cam", "layer": "relu#7"}, "runs 2 times"),
        ({"method": "grad-cam", "steps": 3}, "unknown parameter of grad-cam 'steps'"),
        ({"method": "gradient", "reduction": "mean"}, "did you mean max"),
        ({"method": "smoothgrad", "samples": 0}, "samples must be at least 1"),
        ({"method": "smoothgrad", "noise": -0.1}, "noise must be at least 0"),
        ({"method": "integrated-gradients", "steps": 0}, "steps must be at least 1"),
        ({"method": "integrated-gradients", "baseline": "gray"}, "did you mean grey"),
        ({"target": 5}, "5 classes, 0 to 4"),
        ({"target": "bea"}, "did you mean bee"),
        ({"precision": "half"}, "'full' or 'fast'"),
        ({"batch_size": 0}, "at least one picture"),
    ],
    ids=str,
)
def test_what_does_not_exist_or_fit_ends_in_one_line(model, arguments: dict, words: str):
    with pytest.raises(SeewhyError, match=words) as caught:
        seewhy.explain(model, PIXELS, **arguments)
    assert "\n" not in str(caught.value)


def test_a_channel_of_a_layer_is_just_that_channel_or_refused(model: seewhy.Model):
    """The map of the whole layer is never returned for a channel."""
    whole = seewhy.explain(model, PIXELS, "grad-cam", layer="second", relu=False)
    try:
        one = seewhy.explain(model, PIXELS, "grad-cam", layer="second:2", relu=False)
    except SeewhyError as error:
        assert "channel" in str(error)
    else:
        torch.testing.assert_close(one.attribution.sum(1), whole.attribution[:, 2])


class Poisoned(Body):
    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def decide(self, x: Tensor) -> Tensor:
        return super().decide(x) * self.value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_named(value: float):
    with pytest.raises(SeewhyError, match="NaN or infinite logits for array"):
        seewhy.explain(Poisoned(value), PIXELS, "gradient")


def test_weights_that_are_no_numbers_are_named():
    net = Body()
    nn.init.constant_(net.second.weight, float("nan"))
    with pytest.raises(SeewhyError, match=r"second\.weight"):
        seewhy.explain(net, PIXELS, "gradient")


def test_progress_rises_to_the_end(model: seewhy.Model):
    told: list[tuple[str, float]] = []
    seewhy.compare(
        model, PIXELS, ["gradient", "smoothgrad", "integrated-gradients"], batch_size=2,
        progress=lambda name, share: told.append((name, share)),
    )  # fmt: skip
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] == pytest.approx(1)
    assert {name for name, _ in told} == {"gradient", "smoothgrad", "integrated-gradients"}


def test_provenance_and_cost(model: seewhy.Model):
    e = seewhy.explain(model, PIXELS, "smoothgrad", samples=5, seed=3, batch_size=2)
    assert (e.provenance.seed, e.provenance.method, e.provenance.layer) == (3, "smoothgrad", None)
    assert e.cost.forwards == 6 and e.cost.backwards == 5 and e.cost.seconds > 0
    gradient = seewhy.explain(model, PIXELS, "gradient")
    assert (gradient.cost.forwards, gradient.cost.backwards) == (1, 1)
    assert gradient.provenance.seed is None


def test_the_number_of_forwards_of_a_panel_is_that_of_one_method():
    runs: list[int] = []

    class Counting(Body):
        def features(self, x: Tensor) -> Tensor:
            runs.append(len(x))
            return super().features(x)

    model = seewhy.Model(Counting())
    model.layer_graph(PIXELS)
    runs.clear()
    seewhy.compare(model, PIXELS, ["gradient", "guided-backprop", "deconvnet", "grad-cam", "cam"])
    assert runs == [4]


def test_compare_by_names_and_its_layer(model: seewhy.Model):
    panel = seewhy.compare(model, PIXELS, "grad-cam, gradient", layer="second")
    assert [e.method for e in panel] == ["grad-cam", "gradient"]
    assert panel["grad-cam"].provenance.layer == "second"
    with pytest.raises(Unknown, match="grad-cam"):
        panel["gradcam"]
    with pytest.raises(SeewhyError, match="no methods named"):
        seewhy.compare(model, PIXELS, [])
    with pytest.raises(SeewhyError, match="no methods named"):
        seewhy.compare(model, PIXELS, " , ")


def test_one_method_can_be_twice_in_a_panel_with_other_parameters(model: seewhy.Model):
    panel = seewhy.compare(model, PIXELS, [GradCAM(relu=False), GradCAM(), GradCAM()])
    assert [e.provenance.parameters["relu"] for e in panel] == [False, True]


def test_a_method_that_does_not_apply(unchanged: Callable):
    case = NETWORKS["perceptron"]
    with pytest.raises(NotApplicable, match="rows and columns"):
        seewhy.explain(case.model(), case.pixels(), "grad-cam")
    panel = seewhy.compare(case.model(), case.pixels(), ["grad-cam", "gradient"])
    assert [name for name, _ in panel.skipped] == ["grad-cam"] and len(panel) == 1


def test_a_batch_is_taken_as_it_is(model: seewhy.Model):
    """Also outside [0, 1]: the pixels of a `Batch` are not checked."""
    pixels = 10 * PIXELS - 5
    e = seewhy.explain(model, raw_batch(pixels), "gradient")
    assert torch.equal(e.batch.pixels, pixels)
    torch.testing.assert_close(e.logits, model(pixels).detach())
    assert e.logits.shape == (4, CLASSES)


def test_no_pictures(model: seewhy.Model):
    with pytest.raises(SeewhyError, match="picture"):
        seewhy.explain(model, [])


class TwoHeads(Body):
    """A network with a second head that the logits do not depend on."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(8, 4, 3, padding=1)

    def decide(self, x: Tensor):
        return super().decide(x), self.other(x)


def test_the_input_is_a_layer_too():
    model = seewhy.Model(Body())
    found = seewhy.explain(model, PIXELS, "grad-cam", layer="input", relu=False)
    gradient = seewhy.explain(model, PIXELS, "gradient").attribution
    expected = (gradient.mean((2, 3), keepdim=True) * PIXELS).sum(1)
    torch.testing.assert_close(found.heatmap, expected)


@pytest.mark.parametrize("together", [[], ["gradient"]], ids=["alone", "with-gradient"])
def test_a_layer_that_the_decision_does_not_depend_on(together: list[str]):
    """It raises an error or returns zeros, both alone and in a panel."""
    try:
        panel = seewhy.compare(TwoHeads(), PIXELS, ["grad-cam", *together], layer="other")
    except SeewhyError as error:
        assert "other" in str(error)
    else:
        assert dict(panel.skipped) or not panel["grad-cam"].heatmap.any()


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("compiled", ["script", "trace", "export"])
@pytest.mark.parametrize("method", ["gradient", "guided-backprop", "grad-cam"])
def test_networks_that_cannot_be_watched_say_so(compiled: str, method: str):
    """Operations in compiled code cannot be recorded; the message must not be "no ReLU"."""
    net = Body().eval()
    make = {
        "script": lambda: torch.jit.script(nn.Sequential(net.first, net.relu)),
        "trace": lambda: torch.jit.trace(net, PIXELS),
        "export": lambda: torch.export.export(
            net, (PIXELS,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        ).module(),
    }
    subject = make[compiled]()
    if compiled == "script":
        subject = nn.Sequential(subject, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    try:
        found = seewhy.explain(subject, PIXELS, method, 0).heatmap
    except SeewhyError as error:
        assert "\n" not in str(error)
        assert "has no ReLU" not in str(error)
    else:
        if compiled != "script":
            torch.testing.assert_close(found, seewhy.explain(net, PIXELS, method, 0).heatmap)


# Out of memory


class LittleMemory(nn.Module):
    """Runs out of memory above `most` pictures, or above `recorded` ones if a graph is kept."""

    def __init__(self, most: int, recorded: int = 1000):
        super().__init__()
        self.most, self.recorded = most, recorded

    def __deepcopy__(self, memo: dict) -> "LittleMemory":
        return self

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > (self.recorded if x.requires_grad else self.most):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x


def tight(most: int, recorded: int | None = None) -> tuple[seewhy.Model, LittleMemory]:
    room = LittleMemory(most, most if recorded is None else recorded)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return seewhy.Model(nn.Sequential(room, Body())), room


IN_LITTLE_MEMORY: dict[str, dict] = {
    "grad-cam": {},
    "lrp-epsilon-plus": {},
    "smoothgrad": {"samples": 5},
    "integrated-gradients": {"steps": 6},
    "occlusion": {"window": 8, "stride": 8},
    "ablation-cam": {"layer": "1.second"},
}


@pytest.mark.parametrize("method", IN_LITTLE_MEMORY)
@pytest.mark.parametrize("most", [1, 2, 3])
def test_memory_that_runs_out_is_survived_and_reported(method: str, most: int):
    """In any memory format, which cannot be tested if two pictures do not fit."""
    options = IN_LITTLE_MEMORY[method]
    found = seewhy.explain(tight(most)[0], PIXELS, method, [0, 1, 2, 3], **options)
    expected = seewhy.explain(tight(1000)[0], PIXELS, method, [0, 1, 2, 3], **options)
    scale = float(expected.heatmap.abs().max())
    torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=1e-3, atol=1e-3 * scale)
    assert found.target.tolist() == [0, 1, 2, 3] and len(found.batch) == 4
    if method != "ablation-cam":  # whose test on two channels is counted too
        assert found.cost.forwards == pytest.approx(expected.cost.forwards)
    assert found.cost.backwards == pytest.approx(expected.cost.backwards)
    left = min(most, 2)
    assert f"memory ran out at batches of 4; went on with {left}" in found.notes
    assert not any("memory" in note for note in expected.notes)


def test_memory_runs_out_with_several_questions():
    asked = seewhy.each(0, 3)
    found = seewhy.explain(tight(1)[0], PIXELS, "gradient", asked)
    expected = seewhy.explain(tight(1000)[0], PIXELS, "gradient", asked)
    torch.testing.assert_close(found.heatmap, expected.heatmap)
    assert found.target.tolist() == [0] * 4 + [3] * 4


def test_what_was_finished_when_memory_ran_out_is_not_done_again():
    """The finished method continues with the others at the next pictures."""
    model, room = tight(1000)
    told: list[str] = []

    def tell(name: str, share: float) -> None:
        if name == "smoothgrad":
            room.most = room.recorded = 1  # as if another process had taken the memory
        if share < 1:
            told.append(name)

    panel = seewhy.compare(model, PIXELS, ["gradient", "smoothgrad"], 0, progress=tell)
    assert told.count("gradient") == 1
    for e in panel:
        assert "memory ran out at batches of 4; went on with 1" in e.notes
        expected = seewhy.explain(tight(1000)[0], PIXELS, e.method, 0)
        torch.testing.assert_close(e.heatmap, expected.heatmap, rtol=1e-3, atol=1e-5)
    told.clear()
    room.most = room.recorded = 1000
    seewhy.compare(model, PIXELS, ["gradient", "smoothgrad"], 0, batch_size=2, progress=tell)
    assert told.count("gradient") == 1 + 2, "the first two pictures, and then one by one"


def test_no_memory_for_one_picture_is_said_in_a_line():
    for explained in (seewhy.explain, seewhy.compare):
        with pytest.raises(SeewhyError, match="one picture of 16x16; use smaller pic") as caught:
            explained(tight(0)[0], PIXELS, "gradient")
        assert "\n" not in str(caught.value) and "--precision fast" in str(caught.value)


def test_a_method_that_memory_does_not_hold_leaves_the_others():
    """Also if the graph that all methods share is too large."""
    panel = seewhy.compare(tight(1000, 0)[0], PIXELS, ["gradient", "grad-cam"], 0)
    assert [e.method for e in panel] == ["grad-cam"] and len(panel["grad-cam"]) == 4
    ((name, reason),) = panel.skipped
    assert name == "gradient" and "ran out of memory" in reason
    expected = seewhy.explain(tight(1000)[0], PIXELS, "grad-cam", 0)
    torch.testing.assert_close(panel["grad-cam"].heatmap, expected.heatmap, rtol=1e-3, atol=1e-6)
