"""Models of which nothing is known but the scores: functions, ONNX sessions, detectors.

    model = seewhy.black_box(lambda pixels: service.classify(pixels.numpy()), size=224)
    seewhy.explain(model, "dog.jpg", "rise")

Methods that need scores alone work on them; all others say that there are no gradients.
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
    """A model whose scores are whatever `function` says.

    - `function`: gets pictures as a float tensor [k, channels, height, width] on the CPU, pixels in
      [0, 1] (normalised, if `mean` and `std` are given), and returns an array, tensor or list of
      finite numbers: [k, classes], or [k] where there is one score. Or an
      `onnxruntime.InferenceSession` with one input of pictures, whose first output counts.
    - `size`: the side or (height, width) that pictures are resized and cropped to; None: none.
    - `classes`: names of the scores. - `channels`: 3 for RGB, 1 for grey,
      or any other number for tensors and arrays.

    The baseline "mean" is the colour that is normalised to zero, so black if `mean` is not given.
    Scores are taken as they are: no softmax makes probabilities of them. What the function raises
    goes to the caller; a result of another shape, NaN and infinities raise SeewhyError.
    """
    if not isinstance(channels, int) or channels < 1:
        raise SeewhyError(f"channels must be a whole number above 0, not {channels!r}")
    called = _as_function(function)
    named = name or getattr(function, "__name__", type(function).__name__)
    listed = isinstance(mean, Sequence | Tensor | np.ndarray)
    means = mean if listed else [mean or 0.0] * channels  # their number is that of the channels
    box = _BlackBox(called, named)
    return _BlackBoxModel(
        box, mean=means, std=std, size=size, classes=classes, name=named, outputs="scores"
    )


def detection_score(
    detect: Callable[[Tensor], Sequence[Mapping[str, Any]]],
    box: Numbers,
    class_scores: SupportsIndex | Numbers,
) -> Function:
    """How well a detector still finds one object, as a function for `black_box`.

        s = max over detections of  IoU(box, its box) * cos(class_scores, its classes) * objectness

    and 0 where nothing is found. With RISE this is D-RISE: Vitali Petsiuk et al.: Black-box
    explanation of object detectors via saliency maps, 2021, arXiv 2006.03204.

    - `detect`: gets pictures [k, channels, height, width] and returns for each a mapping with
      "boxes" [n, 4] as left, top, right, bottom in pixels, and "probabilities" [n, classes] and
      maybe "objectness" [n]; or, as torchvision's detectors, "labels" [n] and "scores" [n], which
      stand for the class alone and for the objectness.
    - `box`: of the object, likewise. - `class_scores`: its class, or a number for each class.
    Of a detector with labels it is not known how many classes there are; one that it never finds
    has the score 0.

        detect = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights="DEFAULT").eval()
        found = detect(pixels)[0]
        score = seewhy.detection_score(detect, found["boxes"][0], int(found["labels"][0]))
        seewhy.explain(seewhy.black_box(score), pixels, "rise")
    """
    wanted = torch.as_tensor(box, dtype=torch.float32).detach().cpu()
    if wanted.shape != (4,) or not bool((wanted[2:] > wanted[:2]).all()):
        raise SeewhyError(f"a box is (left, top, right, bottom), not {wanted.tolist()}")
    asked = _class_or_numbers(class_scores)

    def score(pixels: Tensor) -> Float[Tensor, " k"]:
        found = detect(pixels)
        if len(found) != len(pixels):
            raise SeewhyError(f"the detector gave {len(found)} results for {len(pixels)} pictures")
        return torch.stack([_best(one, wanted, asked) for one in found])

    score.__name__ = getattr(detect, "__name__", type(detect).__name__)
    return score


class _BlackBox(nn.Module):
    """Calls the function; a network without weights, layers and gradients."""

    def __init__(self, function: Function, name: str):
        super().__init__()
        self.function, self.named = function, name

    def forward(self, pixels: Tensor) -> Tensor:
        return _Opaque.apply(pixels, self)

    def __deepcopy__(self, memo: dict) -> "_BlackBox":
        """There is nothing in it that a copy could do faster."""
        raise TypeError("a black box is not copied")

    def scores(self, pixels: Tensor) -> Float[Tensor, "k classes"]:
        """What the function says, checked."""
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
    """The function, for autograd: whoever pulls back through it is told why that cannot be."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, box: _BlackBox) -> Tensor:
        ctx.named = box.named
        with torch._C.DisableTorchFunction():  # the tape must not intercept the user's function
            return box.scores(pixels)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise NotApplicable(_why_not(ctx.named))


class _BlackBoxModel(Model):
    """Has no layers, and nothing to be said about how its maps lie in memory."""

    def __init__(self, box: _BlackBox, **settings: Any):
        super().__init__(box, **settings)
        self._memory_format = torch.contiguous_format

    def find_layer(self, pixels: Tensor | None = None) -> str:
        """There is none."""
        raise NotApplicable(_why_not(self.name))


def _why_not(name: str) -> str:
    return (
        f"{name} is a black box, without gradients and layers; "
        "occlusion, rise, lime and kernel-shap need neither"
    )


def _as_function(function: Any) -> Function:
    if hasattr(function, "run") and hasattr(function, "get_inputs"):
        return _of_session(function)
    if not callable(function):
        raise SeewhyError(
            "a black box is a function of pictures or an onnxruntime.InferenceSession, not "
            f"{type(function).__name__}"
        )
    return function


def _of_session(session: Any) -> Function:
    """The session as a function; one that takes so many pictures only is run on so many."""
    (given,) = session.get_inputs()
    fixed = given.shape[0] if isinstance(given.shape[0], int) else None

    def run(pixels: Tensor) -> np.ndarray:
        return session.run(None, {given.name: pixels.contiguous().numpy()})[0]

    def run_in_parts(pixels: Tensor) -> np.ndarray:
        assert fixed is not None
        missing = -len(pixels) % fixed
        padded = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
        return np.concatenate([run(some) for some in padded.split(fixed)])[: len(pixels)]

    return run if fixed is None else run_in_parts


def _as_tensor(result: Any) -> Tensor:
    if isinstance(result, Tensor):
        return result.detach()
    return torch.from_numpy(np.asarray(result, dtype=np.float64))


def _class_or_numbers(class_scores: Any) -> int | Float[Tensor, " classes"]:
    """The index of a class, of whatever integer type, or a number for each class."""
    if np.ndim(class_scores) == 0:
        try:
            index = operator.index(class_scores)
        except TypeError:
            raise SeewhyError(
                f"class_scores is a class or a number for each class, not {class_scores!r}"
            ) from None
        if index < 0:
            raise SeewhyError(f"classes count from 0; there is no class {index}")
        return index
    return torch.as_tensor(class_scores, dtype=torch.float32).detach().cpu()


def _best(
    found: Mapping[str, Any], box: Float[Tensor, "4"], asked: int | Float[Tensor, " classes"]
) -> Float[Tensor, ""]:
    """The highest similarity of a detection in one picture."""
    boxes = _numbers(found, "boxes").view(-1, 4)
    if not len(boxes):
        return torch.tensor(0.0)
    if "probabilities" in found:
        probabilities = _numbers(found, "probabilities")
        classes = probabilities.shape[1]
        if isinstance(asked, int) and asked >= classes:
            raise SeewhyError(
                f"class {asked} is out of range: the detector has {classes}, 0 to {classes - 1}"
            )
        wanted = _one_for_each(asked, classes)
        alike = F.cosine_similarity(probabilities, wanted[None], dim=1)
        certain = _numbers(found, "objectness") if "objectness" in found else 1.0
    else:
        labels = _numbers(found, "labels").long()
        named = 1 + asked if isinstance(asked, int) else len(asked)
        wanted = _one_for_each(asked, max(named, int(labels.max()) + 1))
        alike = F.normalize(wanted, dim=0)[labels]
        certain = _numbers(found, "scores")
    return (box_iou(box[None], boxes)[0] * alike * certain).max()


def _numbers(found: Mapping[str, Any], key: str) -> Tensor:
    if key not in found:
        has = ", ".join(found)
        raise SeewhyError(
            f"a detection has no {key} (it has {has}); expected boxes with probabilities, or with "
            "labels and scores"
        )
    return _as_tensor(found[key]).float().cpu()


def _one_for_each(asked: int | Float[Tensor, " named"], count: int) -> Float[Tensor, " classes"]:
    """A number for each of `count` classes; those that are not named have none."""
    scores = torch.zeros(count)
    if isinstance(asked, int):
        scores[asked] = 1
        return scores
    if len(asked) > count:
        raise SeewhyError(f"class_scores has {len(asked)} numbers, the detector {count} classes")
    scores[: len(asked)] = asked
    return scores
