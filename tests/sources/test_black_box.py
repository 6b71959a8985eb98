"""Black boxes: any function of pictures, ONNX sessions, detectors."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, as_model
from seewhy.errors import NotApplicable, SeewhyError, UserCodeError

PIXELS = NETWORKS["batch_norm"].pixels()

WORK: dict[str, dict] = {
    "occlusion": {"window": 8, "stride": 8},
    "rise": {"masks": 40, "score": "logit"},
    "lime": {"samples": 40, "score": "logit"},
    "kernel-shap": {"samples": 40},
}


def classifier() -> tuple[seewhy.Model, Callable[[Tensor], Tensor]]:
    model = NETWORKS["batch_norm"].model()
    return model, lambda pixels: model(pixels).detach()


# Supported methods


@pytest.mark.parametrize("method", WORK)
@pytest.mark.parametrize("precision", ["full", "fast"])
@pytest.mark.parametrize("as_", ["tensor", "array", "list", "float64"])
def test_methods_of_scores_say_what_they_say_of_the_network(
    method: str, precision: str, as_: str, unchanged: Callable
):
    model, function = classifier()
    turned: dict[str, Callable[[Tensor], Any]] = {
        "tensor": lambda t: t,
        "array": lambda t: t.numpy(),
        "list": lambda t: t.tolist(),
        "float64": lambda t: t.double(),
    }
    box = seewhy.black_box(lambda pixels: turned[as_](function(pixels)))
    with unchanged(box.net):
        found = seewhy.explain(
            box, PIXELS, method, [1, 0, 4], baseline="blur", precision=precision, **WORK[method]
        )
    expected = seewhy.explain(model, PIXELS, method, [1, 0, 4], baseline="blur", **WORK[method])
    scale = float(expected.heatmap.abs().max())
    if precision == "full":
        torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=1e-3, atol=1e-3 * scale)
    torch.testing.assert_close(found.logits, expected.logits, rtol=2e-2, atol=1e-2)


def test_one_score_a_picture_is_enough():
    _, function = classifier()
    one = seewhy.black_box(lambda pixels: function(pixels)[:, 2].tolist(), classes=["third"])
    all_ = seewhy.black_box(function)
    found = seewhy.explain(one, PIXELS, "occlusion", "third")
    expected = seewhy.explain(all_, PIXELS, "occlusion", 2)
    torch.testing.assert_close(found.heatmap, expected.heatmap)
    assert found.logits.shape == (3, 1)


def test_scores_are_taken_as_they_are():
    """Scores may already be probabilities, so no softmax is applied."""
    _, function = classifier()
    box = seewhy.black_box(lambda pixels: 100 * function(pixels))
    found = seewhy.explain(box, PIXELS, "occlusion", 1, score="probability")
    same = seewhy.explain(box, PIXELS, "occlusion", 1, score="logit")
    torch.testing.assert_close(found.heatmap, same.heatmap)


def test_the_function_gets_plain_pixels_in_full_batches():
    seen: list[Tensor] = []

    def look(pixels: Tensor) -> Tensor:
        assert pixels.device.type == "cpu" and pixels.dtype == torch.float32
        assert pixels.is_contiguous() and not pixels.requires_grad
        assert float(pixels.min()) >= 0 and float(pixels.max()) <= 1
        seen.append(pixels)
        return pixels.mean((1, 2, 3))

    seewhy.explain(seewhy.black_box(look), PIXELS, "rise", masks=64, batch_size=32)
    assert torch.equal(seen[0][:3], PIXELS) or torch.equal(seen[1][:3], PIXELS)
    assert [len(one) for one in seen[-3:]] == [30, 30, 6] or len(seen[-2]) >= 30
    assert sum(map(len, seen)) <= 3 * 64 + 3 + 8


def test_normalisation_and_sizes_are_done_for_it():
    sizes = []

    def look(pixels: Tensor) -> Tensor:
        sizes.append(tuple(pixels.shape[1:]))
        return pixels.mean((2, 3))

    box = seewhy.black_box(look, size=(20, 30), mean=[0.1, 0.2, 0.3], std=0.5, name="means")
    picture = np.full((64, 48, 3), 128, np.uint8)
    e = seewhy.explain(box, picture, "occlusion")
    assert set(sizes) == {(3, 20, 30)} and e.provenance.model == "means"
    expected = (torch.full((1, 3), 128 / 255) - torch.tensor([[0.1, 0.2, 0.3]])) / 0.5
    torch.testing.assert_close(e.logits, expected, rtol=1e-3, atol=1e-3)


def test_grey_pictures():
    box = seewhy.black_box(lambda pixels: pixels[:, :, :8].mean((1, 2, 3)), channels=1)
    e = seewhy.explain(box, torch.rand(2, 1, 24, 24), "occlusion", window=8, stride=8)
    top, rest = e.heatmap[:, :8], e.heatmap[:, 8:]
    assert bool((top > 0).all()) and float(rest.abs().max()) < 1e-6


def test_a_torch_network_inside_is_no_ones_affair(unchanged: Callable):
    """Rules and hooks do not affect a network inside the function."""
    case = NETWORKS["in_place_relu"]
    net = case.build()

    def function(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return net(pixels)

    box = seewhy.black_box(function)
    with unchanged(net):
        panel = seewhy.compare(box, PIXELS, [m for m in seewhy.methods() if m not in WORK])
    assert not len(panel)


# Errors


@pytest.mark.parametrize("method", [m for m in seewhy.methods() if m not in WORK])
def test_methods_that_need_more_say_so_in_a_line(method: str):
    _, function = classifier()
    box = seewhy.black_box(function, name="classifier")
    with pytest.raises(NotApplicable) as caught:
        seewhy.explain(box, PIXELS, method)
    assert "classifier" in str(caught.value) and "\n" not in str(caught.value)
    own_reason = ("attention", "rollout", "deconvnet", "guided", "cam")
    if not (method.startswith(own_reason) or method.endswith("rollout")):
        assert "is a black box" in str(caught.value)
        assert "occlusion, rise, lime and kernel-shap" in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("no such service"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [0, 3])
def test_what_the_function_raises_comes_through(error: BaseException, after: int):
    left = [after]

    def fail(pixels: Tensor) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return pixels.mean((1, 2, 3))

    reported = UserCodeError if isinstance(error, ValueError) else type(error)
    with pytest.raises(reported) as caught:
        seewhy.explain(seewhy.black_box(fail), PIXELS, "rise", masks=600, batch_size=1)
    assert error in (caught.value, caught.value.__cause__)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda p: torch.zeros(len(p) + 1), "expected"),
        (lambda p: torch.zeros(len(p), 2, 2), "expected"),
        (lambda p: torch.zeros(len(p), 0), "expected"),
        (lambda p: 1.0, "expected"),
        (lambda p: None, "expected"),
        (lambda p: "dog", "no numbers"),
        (lambda p: [[1.0], [2.0, 3.0], [1.0]], "no numbers"),
        (lambda p: torch.full((len(p),), torch.nan), "NaN or infinite"),
        (lambda p: np.full((len(p), 2), np.inf), "NaN or infinite"),
    ],
)
def test_results_of_another_kind_are_refused_in_a_line(result: Callable, words: str):
    with pytest.raises(SeewhyError, match=words) as caught:
        seewhy.explain(seewhy.black_box(result, name="oracle"), PIXELS, "occlusion")
    assert "oracle" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_function_is_refused():
    with pytest.raises(SeewhyError, match="function of pictures"):
        seewhy.black_box("https://example.org")
    with pytest.raises(SeewhyError, match="whole number above 0"):
        seewhy.black_box(len, channels=0)


# ONNX


@pytest.mark.parametrize("batch", ["any", 1, 4])
def test_an_onnx_session_is_its_network(batch: str | int):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    net = NETWORKS["depthwise"].build()
    file = io.BytesIO()
    count = 2 if batch == "any" else batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.rand(count, 3, 24, 24),), file, dynamo=False,
            input_names=["pixels"], output_names=["logits"],
            dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}} if batch == "any" else {},
        )  # fmt: skip
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    normalised = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    box = seewhy.black_box(session, **normalised, name="exported")
    model = as_model(net)
    for method, settings in WORK.items():
        found = seewhy.explain(box, PIXELS, method, [1, 0, 4], **settings)
        expected = seewhy.explain(model, PIXELS, method, [1, 0, 4], **settings)
        assert found.logits.shape == (3, CLASSES)
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
        scale = float(expected.heatmap.abs().max())
        torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=1e-2, atol=2e-3 * scale)


# Detectors

SIDE = 48


def squares(pixels: Tensor) -> list[dict[str, Tensor]]:
    """Detect a red and a green square: the box of bright pixels, with brightness as objectness."""
    found = []
    for picture in pixels:
        boxes, probabilities, objectness = [], [], []
        for channel in range(2):
            bright = picture[channel] > 0.5
            if not bool(bright.any()):
                continue
            rows, columns = bright.any(1).nonzero()[:, 0], bright.any(0).nonzero()[:, 0]
            boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            probabilities.append([0.9, 0.1] if channel == 0 else [0.1, 0.9])
            objectness.append(picture[channel][bright].mean())
        found.append({
            "boxes": torch.tensor(boxes).float().view(-1, 4),
            "probabilities": torch.tensor(probabilities).view(-1, 2),
            "objectness": torch.tensor(objectness),
        })  # fmt: skip
    return found


def two_squares() -> Tensor:
    picture = torch.zeros(3, SIDE, SIDE)
    picture[0, 6:18, 4:16] = 0.95
    picture[1, 28:42, 26:40] = 0.95
    return picture


RED, GREEN = [4, 6, 16, 18], [26, 28, 40, 42]


def test_the_score_is_the_best_similarity():
    pixels = two_squares()[None]
    cosine = 0.9 / (0.9**2 + 0.1**2) ** 0.5
    for box, label, expected in [
        (RED, 0, cosine * 0.95),
        (GREEN, 1, cosine * 0.95),
        (GREEN, [0.1, 0.9], 0.95),
        (RED, [0.9, 0.1], 0.95),
        ([4, 6, 16, 30], 0, cosine * 0.95 * 12 / 24),  # twice the height
        ([40, 2, 46, 8], 0, 0.0),  # no overlap
    ]:
        score = seewhy.detection_score(squares, box, label)
        torch.testing.assert_close(score(pixels), torch.tensor([expected]), rtol=1e-5, atol=1e-6)
    # The red square as a green one: the class similarity is low.
    red_as_green = seewhy.detection_score(squares, RED, [0.1, 0.9])(pixels)
    assert float(red_as_green) == pytest.approx(0.95 * 0.18 / 0.82)
    nothing = seewhy.detection_score(squares, RED, 0)(torch.zeros(2, 3, SIDE, SIDE))
    assert nothing.tolist() == [0.0, 0.0]


def test_of_torchvisions_kind_labels_and_scores_count():
    def detect(pixels: Tensor) -> list[dict[str, Tensor]]:
        boxes = torch.tensor([RED, RED, GREEN]).float()
        return [{"boxes": boxes, "labels": torch.tensor([3, 7, 3]),
                 "scores": torch.tensor([0.4, 0.8, 0.9])}] * len(pixels)  # fmt: skip

    def of(box: list, label: Any) -> float:
        return float(seewhy.detection_score(detect, box, label)(torch.zeros(1, 3, 8, 8))[0])

    assert of(RED, 3) == pytest.approx(0.4)
    assert of(RED, 7) == pytest.approx(0.8)
    assert of(GREEN, 3) == pytest.approx(0.9)
    assert of(GREEN, 7) == 0.0 and of(RED, 90) == 0.0
    one_hot = [0.0] * 91
    one_hot[7] = 2.0
    assert of(RED, one_hot) == pytest.approx(0.8)


@pytest.mark.parametrize("as_", [int, np.int64, np.uint8, torch.tensor, np.array])
def test_a_class_is_any_kind_of_whole_number(as_: Callable):
    def labelled(pixels: Tensor) -> list[dict[str, Tensor]]:
        boxes = torch.tensor([RED, GREEN]).float()
        return [{"boxes": boxes, "labels": torch.tensor([0, 1]), "scores": torch.ones(2)}]

    for detect, expected in [(squares, 0.95 * 0.9 / 0.82**0.5), (labelled, 1.0)]:
        score = seewhy.detection_score(detect, GREEN, as_(1))(two_squares()[None])
        assert float(score) == pytest.approx(expected, rel=1e-4)
    for refused in (-1, np.int64(-1)):
        with pytest.raises(SeewhyError, match="no class -1"):
            seewhy.detection_score(labelled, GREEN, refused)


@pytest.mark.parametrize(("box", "label"), [(RED, 0), (GREEN, 1)])
def test_each_object_has_its_map(box: list[int], label: int):
    """D-RISE and occlusion highlight the target object, not the other one."""
    pixels = two_squares()[None]
    model = seewhy.black_box(seewhy.detection_score(squares, box, label))
    left, top, right, bottom = box
    covered = seewhy.explain(model, pixels, "occlusion", window=14, stride=2).heatmap[0]
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[max(0, top - 14) : bottom + 14, max(0, left - 14) : right + 14] = True
    assert float(covered[inside].max()) > 0.1 and float(covered[~inside].abs().max()) < 1e-6
    seen = seewhy.explain(model, pixels, "rise", masks=600).heatmap[0]
    other_left, other_top, other_right, other_bottom = RED if box is GREEN else GREEN
    own = seen[top:bottom, left:right].mean()
    other = seen[other_top:other_bottom, other_left:other_right].mean()
    assert float(own - other) > 0.2 * float(seen.max() - seen.min())


def test_a_real_detector_goes_through():
    """With random weights, the best detection in the original picture has the detector's score."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=4, box_score_thresh=0.0
        ).eval()
        pixels = torch.rand(1, 3, 64, 64)

    def detect(pictures: Tensor) -> list[dict[str, Tensor]]:
        with torch.no_grad():
            return net(list(pictures))

    (found,) = detect(pixels)
    first = int(found["scores"].argmax())
    label, score = int(found["labels"][first]), float(found["scores"][first])
    function = seewhy.detection_score(detect, found["boxes"][first], label)
    assert float(function(pixels)[0]) == pytest.approx(score, rel=1e-4)
    e = seewhy.explain(seewhy.black_box(function), pixels, "occlusion", window=32, stride=32)
    assert e.heatmap.shape == (1, 64, 64) and bool(e.heatmap.any())
    torch.testing.assert_close(e.score, torch.tensor([score]), rtol=1e-3, atol=1e-5)
    e = seewhy.explain(seewhy.black_box(function), pixels, "rise", masks=12)
    assert bool(e.heatmap.isfinite().all()) and bool(e.heatmap.any())


@pytest.mark.parametrize(
    ("detect", "box", "label", "words"),
    [
        (squares, [4, 6, 2, 18], 0, "left, top, right, bottom"),
        (squares, [4, 6, 2], 0, "left, top, right, bottom"),
        (squares, RED, [0.1, 0.2, 0.7], "3 numbers"),
        (squares, RED, -1, "count from 0; there is no class -1"),
        (squares, RED, torch.tensor(-2), "no class -2"),
        (squares, RED, 2, "class 2 is out of range: the detector has 2, 0 to 1"),
        (squares, RED, np.int64(7), "class 7 is out of range"),
        (squares, RED, 0.5, "a class or a number for each class, not 0.5"),
        (squares, RED, "dog", "not 'dog'"),
        (lambda p: [], RED, 0, "0 results"),
        (lambda p: [{"masks": [1]}] * len(p), RED, 0, "no boxes"),
        (lambda p: [{"boxes": [RED]}] * len(p), RED, 0, "no labels"),
    ],
)
def test_detections_of_another_kind_are_refused(
    detect: Callable, box: list, label: Any, words: str
):
    with pytest.raises(SeewhyError, match=words) as caught:
        seewhy.detection_score(detect, box, label)(two_squares()[None])
    assert "\n" not in str(caught.value)


def test_a_module_is_a_function_too():
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x.mean((2, 3))

    box = seewhy.black_box(Doubled())
    assert box.name == "Doubled"
    torch.testing.assert_close(box(PIXELS), 2 * PIXELS.mean((2, 3)))
