"""Models that only return scores: functions, ONNX sessions, detectors.

    model = seewhy.black_box(lambda pixels: service.classify(pixels.numpy()), size=224)
    seewhy.explain(model, "dog.jpg", "rise")

Methods that need only scores work on them; all others raise NotApplicable.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_iou

from seewhy.errors import NotApplicable, SeewhyError
from seewhy.models.model import Model

Function = Callable[[Tensor], Any]
Numbers = Sequence[float] | Tensor | np.ndarray


def black_box(
    function: Any,
    *,
    size: int | tuple[int, int] | None = None,
    classes: Sequence[str] | Mapping[int, str] | None = None,
    name: str | None = None,
    channels: int = 3,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> Model:
    """Wrap a function that returns scores as a model.

    - `function`: takes pictures as a float tensor [k, channels, height, width] on the CPU, with
      pixels in [0, 1] (normalised, if `mean` and `std` are given), and returns an array, tensor or
      list of finite numbers: [k, classes], or [k] for a single score. Or an
      `onnxruntime.InferenceSession` with one input for pictures; its first output is used.
    - `size`: the side or (height, width) to resize and crop pictures to; None: unchanged.
    - `classes`: names of the scores. - `channels`: 3 for RGB, 1 for grey, or
      any other number for arrays and tensors.

    The baseline "mean" is the colour that is normalised to zero, so black if `mean` is not given.
    Scores are used unchanged, without a softmax. An exception of the function is reported as
    `errors.UserCodeError`, with its line; a result of another shape, NaN and infinities raise
    SeewhyError.
    """
    if not isinstance(channels, int) or channels < 1:
        raise SeewhyError(f"channels must be a whole number above 0, not {channels!r}")
    wrapped = _as_function(function)
    label = name or getattr(function, "__name__", type(function).__name__)
    per_channel = isinstance(mean, Sequence | Tensor | np.ndarray)
    means = mean if per_channel else [mean or 0.0] * channels  # Model infers the channels from it
    box = _BlackBox(wrapped, label)
    return _BlackBoxModel(
        box, mean=means, std=std, size=size, classes=classes, name=label, outputs="scores"
    )


def detection_score(
    detect: Callable[[Tensor], Sequence[Mapping[str, Any]]],
    box: Numbers,
    class_scores: SupportsIndex | Numbers,
) -> Function:
    """Return a function for `black_box` that scores how well a detector finds one object.

        s = max over detections of  IoU(box, its box) * cos(class_scores, its classes) * objectness

    and 0 if nothing is detected. With RISE this is D-RISE: Vitali Petsiuk et al.: Black-box
    explanation of object detectors via saliency maps, 2021, arXiv 2006.03204.

    - `detect`: takes pictures [k, channels, height, width] and returns a mapping for each, with
      "boxes" [n, 4] as left, top, right, bottom in pixels, "probabilities" [n, classes] and
      optionally "objectness" [n]. Or, like torchvision's detectors, with "labels" [n] and "scores"
      [n], which are used as one-hot probabilities and as objectness.
    - `box`: the box of the object, in the same form. - `class_scores`: its class, or a number for
      each class.
    The number of classes of a detector with labels is unknown; a class that it never detects has
    the score 0.

        detect = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights="DEFAULT").eval()
        detection = detect(pixels)[0]
        score = seewhy.detection_score(detect, detection["boxes"][0], int(detection["labels"][0]))
        seewhy.explain(seewhy.black_box(score), pixels, "rise")
    """
    similarity = similarity_to(box, class_scores)

    def score(pixels: Tensor) -> Float[Tensor, " k"]:
        return similarity(detect(pixels), len(pixels))

    score.__name__ = getattr(detect, "__name__", type(detect).__name__)
    return score


def similarity_to(
    box: Numbers, class_scores: SupportsIndex | Numbers
) -> Callable[[Sequence[Mapping[str, Any]], int], Float[Tensor, " k"]]:
    """Return the score of `detection_score` as a function of the detections in `k` pictures.

    It is differentiable in the boxes, probabilities and scores.
    """
    target_box = torch.as_tensor(box, dtype=torch.float32).detach().cpu()
    if target_box.shape != (4,) or not bool((target_box[2:] > target_box[:2]).all()):
        raise SeewhyError(f"the box must be (left, top, right, bottom), not {target_box.tolist()}")
    target_class = _class_or_numbers(class_scores)

    def similarity(detections: Sequence[Mapping[str, Any]], count: int) -> Float[Tensor, " k"]:
        if len(detections) != count:
            raise SeewhyError(
                f"the detector returned {len(detections)} results for {count} pictures"
            )
        return torch.stack([_best(detected, target_box, target_class) for detected in detections])

    return similarity


class _BlackBox(nn.Module):
    """A network without weights, layers and gradients that calls the function."""

    def __init__(self, function: Function, name: str):
        super().__init__()
        self.function, self.named = function, name

    def forward(self, pixels: Tensor) -> Tensor:
        return _Opaque.apply(pixels, self)

    def __deepcopy__(self, memo: dict) -> "_BlackBox":
        """Raise TypeError, because a copy would call the same function and gain nothing."""
        raise TypeError("a black box cannot be copied")

    def scores(self, pixels: Tensor) -> Float[Tensor, "k classes"]:
        """Call the function and check its result."""
        result = self.function(pixels.detach().cpu().float())
        count = len(pixels)
        try:
            scores = _as_tensor(result).to(pixels)
        except (TypeError, ValueError) as error:
            raise SeewhyError(f"{self.named} returned no numbers: {error}") from None
        if scores.ndim not in (1, 2) or len(scores) != count or not scores.numel():
            raise SeewhyError(
                f"{self.named} returned shape {tuple(scores.shape)} for {count} pictures; expected "
                f"[{count}] or [{count}, classes]"
            )
        if not bool(scores.isfinite().all()):
            raise SeewhyError(f"{self.named} returned NaN or infinite scores")
        return scores.view(count, -1)


class _Opaque(torch.autograd.Function):
    """The function as an autograd operation whose backward pass raises NotApplicable."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, box: _BlackBox) -> Tensor:
        ctx.named = box.named
        with torch._C.DisableTorchFunction():  # the tape must not intercept the user's function
            return box.scores(pixels)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise NotApplicable(_why_not(ctx.named))


class _BlackBoxModel(Model):
    """A model without layers, for which no memory format needs to be chosen."""

    def __init__(self, box: _BlackBox, **settings: Any):
        super().__init__(box, **settings)
        self._memory_format = torch.contiguous_format

    def find_layer(self, pixels: Tensor | None = None) -> str:
        """Raise NotApplicable, because a black box has no layers."""
        raise NotApplicable(_why_not(self.name))


def _why_not(name: str) -> str:
    return (
        f"{name} is a black box without gradients and layers; "
        "occlusion, rise, lime and kernel-shap need neither"
    )


def _as_function(function: Any) -> Function:
    if hasattr(function, "run") and hasattr(function, "get_inputs"):
        return _from_session(function)
    if not callable(function):
        raise SeewhyError(
            "black_box() needs a function of pictures or an onnxruntime.InferenceSession, not "
            f"{type(function).__name__}"
        )
    return function


def _from_session(session: Any) -> Function:
    """Wrap an ONNX session as a function; batches are padded if its batch size is fixed."""
    (pictures,) = session.get_inputs()
    fixed = pictures.shape[0] if isinstance(pictures.shape[0], int) else None

    def run(pixels: Tensor) -> np.ndarray:
        return session.run(None, {pictures.name: pixels.contiguous().numpy()})[0]

    def run_in_parts(pixels: Tensor) -> np.ndarray:
        assert fixed is not None
        missing = -len(pixels) % fixed
        padded = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
        return np.concatenate([run(part) for part in padded.split(fixed)])[: len(pixels)]

    return run if fixed is None else run_in_parts


def _as_tensor(result: Any) -> Tensor:
    if isinstance(result, Tensor):
        return result.detach()
    return torch.from_numpy(np.asarray(result, dtype=np.float64))


def _class_or_numbers(class_scores: Any) -> int | Float[Tensor, " classes"]:
    """Return the index of a class, given as any integer type, or a number for each class."""
    if np.ndim(class_scores) == 0:
        try:
            index = operator.index(class_scores)
        except TypeError:
            raise SeewhyError(
                f"class_scores must be a class or a number for each class, not {class_scores!r}"
            ) from None
        if index < 0:
            raise SeewhyError(f"classes count from 0; there is no class {index}")
        return index
    return torch.as_tensor(class_scores, dtype=torch.float32).detach().cpu()


def _best(
    detected: Mapping[str, Any], box: Float[Tensor, "4"], target: int | Float[Tensor, " classes"]
) -> Float[Tensor, ""]:
    """Return the score of the best detection in one picture."""
    boxes = _numbers(detected, "boxes").view(-1, 4)
    if not len(boxes):
        return torch.tensor(0.0)
    if "probabilities" in detected:
        probabilities = _numbers(detected, "probabilities")
        classes = probabilities.shape[1]
        if isinstance(target, int) and target >= classes:
            raise SeewhyError(
                f"class {target} is out of range: the detector has {classes}, 0 to {classes - 1}"
            )
        weights = _class_weights(target, classes)
        similarity = F.cosine_similarity(probabilities, weights[None], dim=1)
        objectness = _numbers(detected, "objectness") if "objectness" in detected else 1.0
    else:
        labels = _numbers(detected, "labels").long()
        given = 1 + target if isinstance(target, int) else len(target)
        weights = _class_weights(target, max(given, int(labels.max()) + 1))
        similarity = F.normalize(weights, dim=0)[labels]
        objectness = _numbers(detected, "scores")
    return (box_iou(box[None], boxes)[0] * similarity * objectness).max()


def _numbers(detected: Mapping[str, Any], key: str) -> Tensor:
    if key not in detected:
        has = ", ".join(detected)
        raise SeewhyError(
            f"a detection has no {key} (it has {has}); expected boxes with probabilities, or with "
            "labels and scores"
        )
    values = detected[key]
    return (values if isinstance(values, Tensor) else _as_tensor(values)).float().cpu()


def _class_weights(target: int | Float[Tensor, " given"], count: int) -> Float[Tensor, " classes"]:
    """Return a number for each of `count` classes: one-hot, or padded with zeros."""
    weights = torch.zeros(count)
    if isinstance(target, int):
        weights[target] = 1
        return weights
    if len(target) > count:
        raise SeewhyError(f"class_scores has {len(target)} numbers, the detector {count} classes")
    weights[: len(target)] = target
    return weights
