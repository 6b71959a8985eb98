"""What is assumed of the network: its input, its outputs, and that the score depends on both."""

import torch
from torch import Tensor

from seewhy.engine.recording import Request, recorded
from seewhy.errors import NotApplicable
from seewhy.evaluation.checks.check import (
    DIFFERS,
    Check,
    above_zero,
    largest_error,
    not_applicable,
    stated,
)
from seewhy.evaluation.checks.subject import Subject
from seewhy.models.final import LastFunction
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.support.settings import Settings

TOPIC = "assumed"
SUM = 1e-3  # by which probabilities may miss one
CONSTANT = (
    "the score is the same for two different pictures; nothing about the picture can be explained"
)
CUT = "the gradient of the score is zero at every pixel, so gradient methods have no map"
UNREAD = "the score does not depend on this layer, so its maps would be empty; name another one"


def assumptions(subject: Subject) -> list[Check]:
    """Preprocessing, outputs, and whether the score depends on the pixels and the layer."""
    return [
        _preprocessing(subject.model),
        _outputs(subject),
        _depends_on_pixels(subject),
        _gradient_at_pixels(subject),
        _gradient_at_layer(subject),
    ]


def _preprocessing(model: Model) -> Check:
    name = "preprocessing"
    size = model.preparation.size
    sized = f"pictures of {size[0]} x {size[1]}" if size else "pictures of any size"
    mean, std = (values.flatten().tolist() for values in (model.mean, model.std))
    if not any(mean) and set(std) == {1.0}:
        reason = f"no mean and std are known: the network gets {sized}, pixels in [0, 1]"
        return not_applicable(TOPIC, name, "", reason)
    listed = [", ".join(f"{value:.3g}" for value in values) for values in (mean, std)]
    return stated(TOPIC, name, f"{sized}; mean {listed[0]}; std {listed[1]}")


def _outputs(subject: Subject) -> Check:
    """What the network puts out, against what the model says it does."""
    name, model = "outputs", subject.model
    with borrowed(model.net), torch.no_grad(), LastFunction() as last:
        outputs = model.net(model.normalised(subject.picture))
    pictures = (subject.picture, subject.other)  # one by one: batches are another check
    logits = torch.cat([subject.logits(model.forward, picture) for picture in pictures])
    count = logits.shape[1]
    if model.outputs == "scores":
        return stated(TOPIC, name, f"{count} scores, taken as they are")
    if model.ends_in:
        fact = f"{count} logits: the input of the {model.ends_in} that the network ends in"
        return stated(TOPIC, name, fact)
    kind = _kind(logits, last, outputs)
    if kind:
        reason = (
            f"{kind}, not logits; return what the network computes before, or declare "
            'outputs="scores"'
        )
        return Check(TOPIC, name, "", DIFFERS, None, "", reason)
    return stated(TOPIC, name, f"{count} logit{'s' if count > 1 else ''}")


def _kind(logits: Tensor, last: LastFunction, outputs: object) -> str | None:
    """What the outputs look like if not like logits."""
    if last.last is not None and outputs is last.last[2] and last.last[0] == "sigmoid":
        return "the outputs are sigmoids, probabilities of one class each"
    if logits.shape[1] < 2:
        return None
    values = logits.double()
    if bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < SUM).all()):
        return "the outputs look like probabilities (not negative, and their sum is 1)"
    if bool((values <= 0).all()) and bool((values.logsumexp(1).abs() < SUM).all()):
        return "the outputs look like logarithms of probabilities"
    return None


def _depends_on_pixels(subject: Subject) -> Check:
    """Whether another picture has other logits."""
    logits = subject.logits(subject.model.forward, subject.other)
    error = largest_error(logits, subject.alone[0])
    change = error if error > 10 * torch.finfo(subject.model.dtype).eps else 0.0
    measured = "logits of two pictures: largest difference over largest logit"
    return above_zero(TOPIC, "the score depends on the picture", measured, change, CONSTANT)


def _gradient_at_pixels(subject: Subject) -> Check:
    name, measured = "the score has a gradient at the pixels", "norm of the gradient"
    gradient = subject.alone[1]
    if gradient is None:
        return not_applicable(TOPIC, name, measured, subject.no_gradient or "there is none")
    return above_zero(TOPIC, name, measured, float(gradient.double().norm()), CUT)


def _gradient_at_layer(subject: Subject) -> Check:
    name, measured = "the score has a gradient at the default layer", "norm of the gradient"
    model, picture = subject.model, subject.picture
    if subject.no_gradient:
        return not_applicable(TOPIC, name, measured, subject.no_gradient)
    try:
        at = model.find_layer(picture)
        with recorded(model, picture, [Request(at)], subject.target, Settings()) as recording:
            size = float(recording.gradient(at).double().norm())
    except NotApplicable as reason:
        if "does not depend on" in str(reason):
            return above_zero(TOPIC, name, measured, 0.0, UNREAD)
        return not_applicable(TOPIC, name, measured, str(reason))
    return above_zero(TOPIC, f"{name} ({at})", measured, size, UNREAD)
