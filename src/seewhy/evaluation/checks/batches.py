"""Is a picture's answer the same alone and in a batch, and the same when it is asked for twice?"""

from seewhy.evaluation.checks.check import (
    Check,
    at_most,
    largest_error,
    norm_error,
    not_applicable,
    rounding,
)
from seewhy.evaluation.checks.subject import Subject

TOPIC = "batch"
LOGITS, GRADIENT = 1e-3, 0.02
MIXES = (
    "the picture's logits depend on the other pictures in its batch (batch normalisation without "
    "running statistics?); explain runs one picture at a time"
)


def batch_equals_single(subject: Subject) -> list[Check]:
    """Logits and gradient of one picture alone, and beside another picture."""
    logits, gradient = subject.alone
    again = subject.logits(subject.model.forward, subject.picture)
    repeated = at_most(
        TOPIC,
        "repeatable",
        "logits of the picture in two runs: largest difference over largest logit",
        largest_error(again, logits),
        rounding(subject.model, LOGITS),
        "the network is random in evaluation mode; turn its random layers off",
    )
    both, pulled = subject.passes(subject.model.forward, subject.pair)
    beside = at_most(
        TOPIC,
        "logits in a batch",
        "logits alone and beside another picture: largest difference over largest logit",
        largest_error(both[:1], logits),
        rounding(subject.model, LOGITS),
        MIXES,
    )
    name, measured = "gradient in a batch", "pixel gradient alone and in a batch: relative error"
    if gradient is None or pulled is None:
        reason = subject.no_gradient or "the network has no gradient"
        return [repeated, beside, not_applicable(TOPIC, name, measured, reason)]
    # Of a picture's score, the gradient at another picture's pixels must be zero.
    leaked = float(pulled[1:].double().norm() / gradient.double().norm().clamp_min(1e-300))
    error = max(norm_error(pulled[:1], gradient), leaked)
    return [
        repeated,
        beside,
        at_most(TOPIC, name, measured, error, rounding(subject.model, GRADIENT), MIXES),
    ]
