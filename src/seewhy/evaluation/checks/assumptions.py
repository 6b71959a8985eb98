"""What is assumed of the network: its input, its outputs, and that the score depends on both."""

import torch

from seewhy.engine.recording import Request, recorded
from seewhy.errors import NotApplicable
from seewhy.evaluation.checks.check import (
    Check,
    above_zero,
    largest_error,
    not_applicable,
    stated,
)
from seewhy.evaluation.checks.subject import Subject
from seewhy.models.model import Model
from seewhy.support.settings import Settings

TOPIC = "assumed"
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
    if model.normalised_as is None:
        return not_applicable(TOPIC, name, "", f"{sized}; {model.assumed[0]}")
    means, stds = (
        ", ".join(f"{value:.3g}" for value in values.flatten().tolist())
        for values in (model.mean, model.std)
    )
    source = "".join(f"; {text}" for text in model.assumed)
    return stated(TOPIC, name, f"{sized}; mean {means}; std {stds}{source}")


def _outputs(subject: Subject) -> Check:
    """What the network puts out, as given or as found out."""
    name, model = "outputs", subject.model
    logits = subject.logits(model.forward, subject.picture)
    count = logits.shape[1]
    if model.ends_in:
        fact = f"{count} logits: the input of the {model.ends_in} that the network ends in"
        return stated(TOPIC, name, fact)
    if model.outputs == "logits":
        return stated(TOPIC, name, f"{count} logit{'s' if count > 1 else ''}")
    return stated(TOPIC, name, f"{count} values: {model.outputs}")


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
