"""Scores of masked pictures: full batches, memory, interruption, several targets."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import seewhy
from networks import CLASSES, NETWORKS, Body, as_model
from seewhy.attribution.methods.occlusion import windows
from seewhy.engine.incremental import NotLocal
from seewhy.engine.recording import recorded
from seewhy.errors import UserCodeError
from seewhy.perturbation import MaskedScores, Masks, Windows
from seewhy.perturbation.baselines import baseline
from seewhy.perturbation.perturbations import perturbation
from seewhy.perturbation.scoring import TOGETHER
from seewhy.perturbation.windowed import Windowed
from seewhy.support.batching import BatchSizer
from seewhy.support.settings import Settings

# Mask methods with small settings.
METHODS: dict[str, dict] = {
    "occlusion": {"window": 8, "stride": 6},
    "rise": {"masks": 24},
    "lime": {"samples": 24},
    "kernel-shap": {"samples": 24},
    "score-cam": {},
}

each_method = pytest.mark.parametrize("method", METHODS)


class Log:
    """The batch sizes a `Gate` received and when it fails; shared by its copies."""

    def __init__(self):
        self.batches: list[int] = []
        self.most: int | None = None
        self.error: BaseException = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        self.left = 10**9


class Gate(nn.Module):
    """Logs the batch sizes, and fails when the log says so."""

    def __init__(self):
        super().__init__()
        self.log = Log()

    def __deepcopy__(self, memo: dict) -> "Gate":
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.log.batches.append(len(x))
        self.log.left -= 1
        if self.log.left < 0 or (self.log.most is not None and len(x) > self.log.most):
            raise self.log.error
        return x


def gated(network: str = "batch_norm") -> tuple[seewhy.Model, Log, Tensor]:
    """A model behind a gate, with its layers already traced."""
    case, gate = NETWORKS[network], Gate()
    model = as_model(nn.Sequential(gate, case.build()))
    pixels = case.pixels()
    model.layer_graph(pixels)
    gate.log.batches.clear()
    return model, gate.log, pixels


def run(model: seewhy.Model, pixels: Tensor, method: str, target=1, **settings):
    return seewhy.explain(model, pixels, method, target, **METHODS[method], **settings)


# Scores


class Random(Masks):
    """Soft masks of one or three channels, shared by all pictures or one set for each."""

    def __init__(self, pictures: int, count: int, channels: int, size: tuple[int, int]):
        self.count = count
        generator = torch.Generator().manual_seed(0)
        self.all = torch.rand(pictures, count, channels, *size, generator=generator)

    def of(self, numbers: range) -> Tensor:
        return self.all[:, numbers.start : numbers.stop]


@pytest.mark.parametrize("probability", [False, True])
@pytest.mark.parametrize(("pictures", "channels"), [(1, 1), (3, 1), (1, 3), (3, 3)])
@pytest.mark.parametrize("most", [None, 1, 2, 5, 7])
def test_scores_are_those_of_blends(
    pictures: int, channels: int, probability: bool, most: int | None
):
    case = NETWORKS["batch_norm"]
    net, pixels = case.build().double(), case.pixels().double()
    model = as_model(net)
    masks = Random(pictures, 11, channels, (24, 24))
    found = torch.full((2, 3, 11), torch.nan)
    with recorded(model, pixels, [], seewhy.each(None, [0, 4, 2]), Settings(most=most)) as r:
        fill = baseline("blur", model, pixels)
        scored = MaskedScores(r, masks, fill, probability)
        unmasked = scored.unmasked()
        for block in scored:
            numbers = torch.arange(block.numbers.start, block.numbers.stop)
            found[:, block.pictures[:, None], numbers] = block.scores
        predicted = r.scores[0].target.tolist()
    for q, targets in enumerate([predicted, [0, 4, 2]]):
        for i, target in enumerate(targets):
            for n in range(11):
                mask = masks.all[i % pictures, n].double()
                logits = model((mask * pixels[i] + (1 - mask) * fill[i])[None])[0]
                score = (logits.softmax(0) if probability else logits)[target]
                assert float(found[q, i, n]) == pytest.approx(float(score), rel=1e-4, abs=1e-6)
            logits = model(pixels[i, None])[0]
            score = (logits.softmax(0) if probability else logits)[target]
            assert float(unmasked[q, i]) == pytest.approx(float(score), rel=1e-4, abs=1e-6)


def test_batches_are_filled_with_variants_of_all_pictures():
    model, log, pixels = gated()
    with recorded(model, pixels, [], 1, Settings(most=9)) as recording:
        masks = Random(1, TOGETHER + 8, 1, (24, 24))
        scored = MaskedScores(recording, masks, baseline("mean", model, pixels))
        log.batches.clear()
        blocks = list(scored)
    assert [block.numbers for block in blocks] == [range(TOGETHER), range(TOGETHER, TOGETHER + 8)]
    assert sum(log.batches) == 3 * masks.count
    assert log.batches.count(9) >= len(log.batches) - 2 and max(log.batches) == 9


def test_pictures_that_are_finished_are_run_no_more():
    model, log, pixels = gated()
    with recorded(model, pixels, [], 1, Settings(most=6)) as recording:
        masks = Random(3, 4 * TOGETHER, 1, (24, 24))
        scored = MaskedScores(recording, masks, baseline("mean", model, pixels))
        log.batches.clear()
        seen = {0: 0, 1: 0, 2: 0}
        for number, block in enumerate(scored):
            numbers = slice(block.numbers.start, block.numbers.stop)
            torch.testing.assert_close(block.masks, masks.all[block.pictures, numbers])
            for picture in block.pictures.tolist():
                seen[picture] += len(block.numbers)
            scored.finished[0] = True
            scored.finished[1] |= number == 1
            scored.finished[2] |= number == 2
    assert seen == {0: TOGETHER, 1: 2 * TOGETHER, 2: 3 * TOGETHER}
    assert sum(log.batches) == 6 * TOGETHER


# Methods


@each_method
@pytest.mark.parametrize("most", [1, 2, 5])
def test_maps_do_not_depend_on_how_many_go_together(method: str, most: int):
    model, _, pixels = gated()
    expected = run(model, pixels, method)
    found = run(model, pixels, method, batch_size=most)
    scale = float(expected.heatmap.abs().max())
    torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=1e-3, atol=1e-4 * scale)


@each_method
@pytest.mark.parametrize("most", [3, 4, 6])
def test_memory_that_runs_out_is_survived_and_told(method: str, most: int):
    model, log, pixels = gated()
    expected = run(model, pixels, method)
    log.most = most
    found = run(model, pixels, method)
    (note,) = [note for note in found.notes if "memory" in note]
    assert note.startswith("memory ran out at batches of") and "went on with" in note
    *_, asked, _, _, _, left = note.replace(";", "").split()
    assert int(left) < int(asked)
    assert not any("memory" in note for note in expected.notes)
    # Failed passes do not count.
    assert found.cost.forwards == pytest.approx(expected.cost.forwards)
    scale = float(expected.heatmap.abs().max())
    torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=1e-3, atol=1e-4 * scale)


@each_method
def test_no_memory_for_a_single_picture_is_an_error(method: str):
    model, log, pixels = gated()
    log.left = 2  # the recorded forward pass, and the test of the folded network
    with pytest.raises(seewhy.SeewhyError, match="ran out of memory"):
        run(model, pixels[:1], method, batch_size=1)


@each_method
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_an_interruption_leaves_the_model_as_it_was(
    method: str, error: BaseException, unchanged: Callable
):
    model, log, pixels = gated()
    net = model.net
    expected = run(model, pixels, method)
    log.error, log.left = error, 6
    raised = UserCodeError if isinstance(error, Exception) else type(error)
    with unchanged(net), pytest.raises(raised) as caught:
        run(model, pixels, method, batch_size=1)
    assert error in (caught.value, caught.value.__cause__)
    log.left = 10**9
    torch.testing.assert_close(run(model, pixels, method).heatmap, expected.heatmap)


@each_method
def test_several_questions_cost_one_pass(method: str):
    model, log, pixels = gated()
    run(model, pixels, method)  # the layers are traced once
    log.batches.clear()
    run(model, pixels, method)
    one = sum(log.batches)
    log.batches.clear()
    both = run(model, pixels, method, seewhy.each(1, 2, seewhy.difference(0, 3)))
    assert sum(log.batches) == one
    for i, target in enumerate([1, 2, seewhy.difference(0, 3)]):
        alone = run(model, pixels, method, target)
        torch.testing.assert_close(both.heatmap[3 * i : 3 * i + 3], alone.heatmap)


@each_method
def test_a_hidden_unit_can_be_asked_about(method: str):
    """The mean over a map's cells, from which the next layers compute a logit."""

    class Twice(nn.Module):
        """A network whose logits are sums over maps, so each score can be written in two ways."""

        def __init__(self):
            super().__init__()
            self.body = NETWORKS["batch_norm"].build()[:6]
            self.last = nn.Conv2d(8, CLASSES, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.body(x)).sum((2, 3))

    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = as_model(Twice().eval())
    pixels = NETWORKS["batch_norm"].pixels()
    extra = {"layer": "body.5"} if method == "score-cam" else {}
    settings = METHODS[method] | {"score": "logit"} | extra
    unit = seewhy.explain(model, pixels, method, "last:2", **settings)
    logit = seewhy.explain(model, pixels, method, 2, **settings)
    scale = float(logit.heatmap.abs().max())
    torch.testing.assert_close(unit.heatmap, logit.heatmap, rtol=1e-3, atol=1e-4 * scale)


@each_method
def test_edits_are_in_force(method: str):
    case = NETWORKS["batch_norm"]
    model, pixels = case.model(), case.pixels()
    plain = run(model, pixels, method)
    with seewhy.edited(model, {"0:1": seewhy.scale(0.0), "0:3": seewhy.add(0.5)}):
        found = run(model, pixels, method)
    net = case.build()
    with torch.no_grad():
        net[0].weight[1] = 0
        net[0].bias = nn.Parameter(torch.zeros(6))
        net[0].bias[3] = 0.5
    expected = run(as_model(net), pixels, method)
    scale = float(expected.heatmap.abs().max())
    torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=1e-3, atol=1e-4 * scale)
    assert not torch.allclose(found.heatmap, plain.heatmap, rtol=1e-3, atol=1e-3 * scale)


def ranks(values: Tensor) -> Tensor:
    return values.flatten().argsort().argsort().double()


@each_method
def test_fast_maps_rank_pixels_nearly_alike(method: str):
    from seewhy.scenes import render, sample

    model, pixels = seewhy.open_model("scenes"), render(sample(2, seed=7), 64).pixels
    settings = METHODS[method] | ({"samples": 64, "segments": 12} if "samples" in METHODS[method]
                                  else {})  # fmt: skip
    full = seewhy.explain(model, pixels, method, **settings)
    fast = seewhy.explain(model, pixels, method, full.target, precision="fast", **settings)
    for one, other in zip(full.heatmap, fast.heatmap, strict=True):
        alike = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        same_order = torch.corrcoef(torch.stack([ranks(one), ranks(other)]))[0, 1]
        # Among pixels without effect, rounding errors decide the order.
        assert float(alike) > 0.95 and float(same_order) > 0.7


# Windows


def windowed(net: Callable, together: int = 32) -> tuple[Windowed, Tensor, Callable]:
    """Two pictures with many windows, and a score."""
    pixels = NETWORKS["batch_norm"].pixels(2)
    boxes = windows((24, 24), 6, 3)
    room = BatchSizer(Settings(most=together), pixels)
    return Windowed(net, pixels, 0 * pixels, 1e-3, room), boxes, lambda logits, _: logits.T


@torch.no_grad()
def test_incremental_scores_are_those_of_whole_pictures_with_the_window_hidden():
    """Wrong scores would only cost time: `is_quicker` rejects them, and pictures are run whole."""
    net, pixels = NETWORKS["batch_norm"].build(), NETWORKS["batch_norm"].pixels(2)
    boxes, fill = windows((24, 24), 7, 5), 1 - pixels  # cut off at the right and the bottom
    hidden = Windowed(net, pixels, fill, 1e-3, BatchSizer(Settings(most=32), pixels))
    found = hidden.scores(torch.arange(2), boxes, lambda logits, _: logits.T)
    for number, (top, left, height, width) in enumerate(boxes.tolist()):
        covered = pixels.clone()
        window = (..., slice(top, top + height), slice(left, left + width))
        covered[window] = fill[window]
        torch.testing.assert_close(found[..., number], net(covered).T, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_windows_survive_that_memory_runs_out():
    net, batches = NETWORKS["batch_norm"].build(), []

    def short(x: Tensor) -> Tensor:
        if len(x) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        batches.append(len(x))
        return net(x)

    both = torch.arange(2)
    plain, boxes, score = windowed(net)
    expected = plain.scores(both, boxes, score)
    found, _, _ = windowed(short)
    torch.testing.assert_close(found.scores(both, boxes, score), expected)
    assert max(batches) == 4 and sum(batches) == 2 * len(boxes)
    found.tried = plain.tried = True
    assert "went on with 4" in str(found.note) and "memory" not in str(plain.note)
    bounded, _, _ = windowed(short, together=3)
    torch.testing.assert_close(bounded.scores(both, boxes, score), expected)
    assert "memory" not in str(bounded.note)


@torch.no_grad()
@pytest.mark.parametrize("error", [TypeError("no"), torch.OutOfMemoryError("no"), NotLocal("no")])
def test_what_fails_on_windows_is_run_whole(error: Exception):
    def fails(x: Tensor) -> Tensor:
        raise error

    found, boxes, score = windowed(fails)
    expected = torch.zeros(CLASSES, 2, len(boxes))
    assert not found.is_quicker(torch.arange(2), boxes, expected, 1e9, score)


def test_a_network_that_does_not_bear_windows_is_explained_all_the_same():
    class Particular(Body):
        def features(self, x: Tensor) -> Tensor:
            if type(x) is not Tensor:
                raise TypeError("tensors only")
            return super().features(x)

    class Plain(Body):
        pass

    pixels = NETWORKS["batch_norm"].pixels()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        one, other = Particular().eval(), Plain().eval()
        other.load_state_dict(one.state_dict())
    found, expected = (
        seewhy.explain(as_model(net), pixels, "occlusion", 1, window=4, stride=3)
        for net in (one, other)
    )
    scale = float(expected.heatmap.abs().max())
    torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=1e-3, atol=1e-4 * scale)


def test_a_network_that_is_local_no_longer_is_run_whole(monkeypatch):
    """The network reads values of activations only after it was tried."""

    refused = []

    class LooksLater(Body):
        looks = False

        def features(self, x: Tensor) -> Tensor:
            x = super().features(x)
            if LooksLater.looks:
                try:
                    with torch._C.DisableTorchFunctionSubclass():
                        x.exp()
                except NotLocal:
                    refused.append(x)
                    raise
            return x

    def is_quicker(windows: Windowed, *_: object) -> bool:
        windows.tried = LooksLater.looks = True
        return True

    pixels = torch.rand(1, 3, 24, 24)
    net = LooksLater().eval()
    whole = seewhy.explain(as_model(net), pixels, "occlusion", window=4, stride=2)
    monkeypatch.setattr(Windowed, "is_quicker", is_quicker)
    found = seewhy.explain(as_model(net), pixels, "occlusion", window=4, stride=2)
    assert len(refused) == 1
    torch.testing.assert_close(found.heatmap, whole.heatmap, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["rise", "lime", "kernel-shap", "score-cam", "occlusion"])
def test_scores_that_are_not_finite_end_in_one_line(method: str):
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float("nan") if len(x) > 1 else x

    model = as_model(nn.Sequential(Fails(), NETWORKS["batch_norm"].build()))
    model._memory_format = torch.contiguous_format  # the automatic choice runs two pictures
    with pytest.raises(seewhy.SeewhyError, match="NaN or infinite scores") as error:
        run(model, torch.rand(1, 3, 24, 24), method)
    assert "\n" not in str(error.value)


def test_nothing_waits_for_the_device_between_forwards():
    """No number is read from a tensor, which on a GPU would wait for pending work."""

    class Read(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    counts = []
    for most in (1, 16):
        model, log, pixels = gated()
        with recorded(model, pixels, [], seewhy.each(1, 2), Settings(most=most)) as recording:
            masks = Random(1, 2 * TOGETHER, 1, (24, 24))
            scored = MaskedScores(recording, masks, baseline("mean", model, pixels))
            log.batches.clear()
            with Read() as read:
                list(scored)
        counts.append((read.count, len(log.batches)))
    assert counts[0][0] == counts[1][0] and counts[0][1] > counts[1][1]


# Perturbations


@pytest.mark.parametrize("size", [(2, 3), (3, 9), (5, 5), (40, 4)])
def test_small_pictures_are_blurred_too(size: tuple[int, int]):
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    seen = baseline("blur", NETWORKS["batch_norm"].model(), pixels)
    assert float(seen.std()) < 0.7 * float(pixels.std())


@pytest.mark.parametrize("fill", ["blur", "pyramid", "mean"])
def test_masks_may_be_finer_than_pictures(fill: str):
    """Pictures in half precision, like the network, while masks are learned in full precision."""
    model = NETWORKS["batch_norm"].model()
    pixels, masks = torch.rand(2, 3, 24, 24), torch.rand(3, 24, 24)
    both = [
        perturbation(fill, model, p).apply(torch.tensor([0, 1, 1]), masks)
        for p in (pixels.half(), pixels.half().float())
    ]
    assert both[0].dtype == torch.half
    torch.testing.assert_close(both[0].float(), both[1], rtol=1e-2, atol=3e-3)


def test_windows_and_masks_agree():
    boxes = torch.tensor([[0, 0, 3, 4], [2, 5, 6, 1]])
    masks = Windows(boxes, (8, 9))
    assert torch.equal(masks.windows(range(1, 2)), boxes[1:])
    assert float((1 - masks.of(range(2))).sum()) == 12 + 6
