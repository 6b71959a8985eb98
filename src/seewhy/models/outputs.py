"""What a network puts out: class logits, in what, and which probabilities they stand for.

    kind            the outputs are                        probability of a class
    logits          logits of classes that exclude others  softmax; of a single logit the sigmoid
    multi-label     logits of independent classes          sigmoid
    probabilities   probabilities                          as they are
    scores          a regression, a ranking, a program     none
    features        an embedding, no classes               none
    segmentation    a map of class logits                  none

`kind_of` finds out as far as that is possible. Independent logits look like exclusive ones, and a
regression like a logit: those have to be named (`Model(outputs=...)`).
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seewhy.errors import SeewhyError
from seewhy.models.adapter import described

OUTPUTS = ("logits", "multi-label", "probabilities", "scores", "features", "segmentation")
RAW = ("scores", "features", "segmentation")  # of which no probabilities are made
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SUM = 1e-3  # by which probabilities in half precision may miss 1


def logits_of(output: Any, batch: int) -> Float[Tensor, "batch classes"]:
    """Return the logits in the output of a classifier for `batch` pictures.

    Raises SeewhyError if it holds no logits of shape [batch, classes].
    """
    logits = getattr(output, "logits", output)
    if isinstance(logits, Mapping):
        logits = logits.get("logits", logits.get("out"))
    if isinstance(logits, tuple | list) and logits:
        logits = logits[0]
    unusual = _unusual(logits) if isinstance(logits, Tensor) else None
    if unusual:
        raise SeewhyError(
            f"the network returned {unusual}; let it return logits as ordinary floating-point "
            "numbers, or choose another output with seewhy.Model(net, output=...)"
        )
    if isinstance(logits, Tensor) and logits.ndim == 1:
        # One logit for each picture, or one picture whose batch axis was squeezed.
        logits = logits[None] if batch == 1 else logits[:, None]
    if (
        not isinstance(logits, Tensor)
        or logits.ndim != 2
        or len(logits) != batch
        or not logits.shape[1]
    ):
        raise SeewhyError(_no_logits(output, logits, batch))
    return logits


def kind_of(net: nn.Module, logits: Tensor, ends_in: str | None) -> str:
    """Return the kind of outputs that these `logits` of a network are, as far as they tell.

    `ends_in` names the softmax or sigmoid whose input the logits are, if there is one.
    """
    if ends_in is not None:
        return "multi-label" if ends_in == "sigmoid" and logits.shape[1] > 1 else "logits"
    if getattr(net, "num_classes", None) == 0:  # timm, without its classifier
        return "features"
    shares = logits.shape[1] > 1 and bool((logits >= 0).all())
    if shares and bool(((logits.sum(1) - 1).abs() < SUM).all()):
        return "probabilities"
    return "logits"


def probabilities_of(
    logits: Float[Tensor, "batch classes"], kind: str
) -> Float[Tensor, "batch classes"]:
    """Return the probabilities that the outputs stand for; raw outputs are returned as they are."""
    if kind in RAW or kind == "probabilities":
        return logits
    if kind == "multi-label" or logits.shape[1] == 1:
        return logits.sigmoid()
    return logits.softmax(1)


def log_probabilities_of(
    logits: Float[Tensor, "batch classes"], kind: str
) -> Float[Tensor, "batch classes"]:
    """Return the logarithms of `probabilities_of`, computed without underflow where possible."""
    if kind == "probabilities":
        return logits.clamp_min(torch.finfo(logits.dtype).tiny).log()
    if kind in RAW:
        return logits
    if kind == "multi-label" or logits.shape[1] == 1:
        return F.logsigmoid(logits)
    return logits.log_softmax(1)


def _unusual(logits: Tensor) -> str | None:
    """Return what a tensor is, if it does not hold floating-point numbers one by one."""
    if logits.is_nested:
        return "a nested tensor"
    if logits.layout != torch.strided:
        return f"a sparse tensor ({logits.layout})"
    if logits.is_quantized:
        return "a quantised tensor"
    if logits.is_meta:
        return "a tensor without values (on the device meta)"
    return None if logits.dtype in FLOATS else f"numbers of the type {logits.dtype}"


def _no_logits(output: Any, logits: Any, batch: int) -> str:
    if isinstance(logits, Tensor) and logits.ndim == 4 and logits.shape[-2:] > (1, 1):
        return (
            f"the network returned {tuple(logits.shape)}, a map for each class; open it with "
            "seewhy.Model(net, outputs='segmentation')"
        )
    got = tuple(logits.shape) if isinstance(logits, Tensor) else described(output)
    pictures = "1 picture" if batch == 1 else f"{batch} pictures"
    return (
        f"expected class logits of shape [batch, classes] for {pictures}, but the network returned "
        f"{got}; choose another output with seewhy.Model(net, output=...): a key, an index, or a "
        "function"
    )
