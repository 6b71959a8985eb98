"""Is what runs for speed the same as a plain forward and backward pass of the network?

The tool chooses a memory format, folds batch normalisations into convolutions, and runs only what a
hidden window reaches. Each is compared with the untouched network on contiguous pixels. That one
runs two pictures: torch's batch normalisation has a wrong backward pass for a batch of one.
"""

import torch
from torch import Tensor

from seewhy.engine.inference import Inference, prepare
from seewhy.evaluation.checks.check import (
    Check,
    at_most,
    largest_error,
    norm_error,
    not_applicable,
    rounding,
)
from seewhy.evaluation.checks.subject import Subject
from seewhy.models.session import borrowed
from seewhy.perturbation.windowed import WINDOWS_TOGETHER, Windowed
from seewhy.support.batching import BatchSizer, out_of_memory
from seewhy.support.settings import Settings

TOPIC = "speed"
LOGITS, GRADIENT = 1e-3, 0.02
FAST = "what runs for speed is not the network as it is; please report the architecture"
# Windows as shares of the picture: top, left, height, width. A corner, an edge, two inside.
WINDOWS = (
    (0.0, 0.0, 0.15, 0.15),
    (0.4, 0.85, 0.15, 0.15),
    (0.3, 0.35, 0.1, 0.2),
    (0.6, 0.1, 0.2, 0.1),
)


def fast_equals_plain(subject: Subject) -> list[Check]:
    """Memory format, folded batch normalisations and incremental windows."""
    plain = _plain(subject)
    with borrowed(subject.model.net):
        inference = prepare(subject.model, subject.picture)
    return [
        *_memory_format(subject, plain),
        *_folding(subject, plain, inference),
        _windows(subject, inference),
    ]


def _plain(subject: Subject) -> tuple[Tensor, Tensor | None]:
    """Logits and gradient of the picture by the untouched network, contiguous."""

    def forward(pixels: Tensor) -> Tensor:
        model = subject.model
        normal = (pixels - model.mean.to(pixels)) / model.std.to(pixels)
        return model.logits(model.net, normal.contiguous(), len(pixels))

    if subject.model.mixes_pictures:
        return subject.passes(forward, subject.picture)
    try:
        logits, gradient = subject.passes(forward, subject.pair)
    except Exception as error:
        if out_of_memory(error):
            raise
        logits, gradient = subject.passes(forward, subject.picture)
    return logits[:1], None if gradient is None else gradient[:1]


def _memory_format(subject: Subject, plain: tuple[Tensor, Tensor | None]) -> list[Check]:
    normal = subject.model.normalised(subject.pair)
    last = normal.is_contiguous(memory_format=torch.channels_last) and not normal.is_contiguous()
    name = f"memory format ({'channels last' if last else 'contiguous'})"
    return _compared(subject, name, subject.alone, plain)


def _folding(
    subject: Subject, plain: tuple[Tensor, Tensor | None], inference: Inference
) -> list[Check]:
    if not inference.folded:
        reason = "no batch normalisation could be folded into a convolution"
        return [not_applicable(TOPIC, "folded batch normalisations", "", reason)]

    def forward(pixels: Tensor) -> Tensor:
        return inference.logits(inference.normalised(pixels))

    name = f"{inference.folded} folded batch normalisations"
    return _compared(subject, name, subject.passes(forward, subject.picture), plain)


def _compared(
    subject: Subject,
    name: str,
    fast: tuple[Tensor, Tensor | None],
    plain: tuple[Tensor, Tensor | None],
) -> list[Check]:
    """Logits and gradients of a fast path and of the plain network."""
    error = largest_error(fast[0], plain[0])
    measured = "logits against the plain network: largest difference over largest logit"
    logits = at_most(
        TOPIC, f"{name}: logits", measured, error, rounding(subject.model, LOGITS), FAST
    )
    measured = "pixel gradient against the plain network: relative error"
    if fast[1] is None or plain[1] is None:
        reason = subject.no_gradient or "the network has no gradient"
        return [logits, not_applicable(TOPIC, f"{name}: gradient", measured, reason)]
    error = norm_error(fast[1], plain[1])
    bound = rounding(subject.model, GRADIENT)
    return [logits, at_most(TOPIC, f"{name}: gradient", measured, error, bound, FAST)]


def _windows(subject: Subject, inference: Inference) -> Check:
    """The scores of pictures with a window hidden, by incremental inference and by whole passes."""
    name = "incremental windows"
    measured = f"scores of {len(WINDOWS)} hidden windows against whole forward passes"
    model, picture = subject.model, subject.picture
    height, width = picture.shape[-2:]
    sides = torch.tensor([height, width, height, width])
    boxes = (torch.tensor(WINDOWS) * sides).long().clamp_min(torch.tensor([0, 0, 1, 1]))
    fill = model.mean.to(picture).expand_as(picture)

    def score(logits: Tensor, rows: Tensor) -> Tensor:
        return logits[None, :, subject.target]

    hidden = []
    for top, left, rows, columns in boxes.tolist():
        seen = picture.clone()
        area = (..., slice(top, top + rows), slice(left, left + columns))
        seen[area] = fill[area]
        hidden.append(subject.logits(model.forward, seen)[0, subject.target])
    try:
        with borrowed(model.net), torch.no_grad():
            normal = model.laid_out(inference.normalised(picture))
            together = 1 if model.mixes_pictures else WINDOWS_TOGETHER
            sizer = BatchSizer(Settings(), picture, most=together)
            windowed = Windowed(
                inference.logits, normal, inference.normalised(fill), inference.rounding, sizer
            )
            found = windowed.scores(torch.tensor([0]), boxes, score)[0, 0]
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = f"edits cannot be followed through the network ({error}); whole passes are used"
        return not_applicable(TOPIC, name, measured, reason)
    whole = torch.stack(hidden)
    scale = float(subject.alone[0].abs().max())
    error = float((found - whole).abs().max()) / max(scale, 1e-300)
    why = "incremental inference gives other scores; occlusion compares its first windows too"
    bound = rounding(model, inference.rounding)
    return at_most(TOPIC, name, f"{measured}, over the largest logit", error, bound, why)
