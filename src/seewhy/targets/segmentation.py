"""What a class means in a map of classes: its logit, summed over the pixels labelled with it.

    score = sum over pixels p with argmax_k z_k(p) = c of  z_c(p)

The labels are those of the unmodified picture, so the region stays the same while methods change
the picture. Kira Vinogradova, Alexandr Dibrov, Gene Myers: Towards Interpretable Semantic
Segmentation via Gradient-weighted Class Activation Mapping, 2020, arXiv 2002.11434.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.models.adapter import OUTPUT
from seewhy.models.addresses import Address
from seewhy.models.class_names import class_name
from seewhy.models.hooks import hooked
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.targets.terms import Logit, Masked, Predicted, Target, Unit, combined, terms


def in_regions(question: Sequence[Target], model: Model, pixels: Tensor) -> list[Target]:
    """Replace the classes in each picture's target by sums over the pixels labelled with them.

    Raises SeewhyError for a class that no pixel of a picture is labelled with.
    """
    if not any(isinstance(t, Logit | Predicted) for one in question for _, t in terms(one)):
        return list(question)
    replaced = []
    for target, picture in zip(question, pixels, strict=True):
        labels, count = _labels(model, picture[None])
        replaced.append(
            combined(
                (weight, _region(term, labels, count, model)) for weight, term in terms(target)
            )
        )
    return replaced


def _region(term: Target, labels: Int[Tensor, "h w"], count: int, model: Model) -> Target:
    if isinstance(term, Predicted):
        index = int(labels.flatten().bincount().argmax())
    elif isinstance(term, Logit):
        index = model.class_index(term.of_class, count)
    else:
        return term
    mask = (labels == index).float()
    name = class_name(index, model.classes)
    if not bool(mask.any()):
        raise SeewhyError(
            f"no pixel is labelled {name}; name a region, such as {OUTPUT}:{index}@0:9,0:9"
        )
    share = float(mask.mean())
    return Masked(Unit(Address(OUTPUT, channel=index)), mask, f"{name} ({share:.0%} of the pixels)")


def _labels(
    model: Model, picture: Float[Tensor, "1 channels height width"]
) -> tuple[Int[Tensor, "height width"], int]:
    """Return the most probable class of each pixel, on the CPU, and the number of classes."""
    maps: list[Tensor] = []
    model.choose_memory_format(picture)
    keep = {OUTPUT: lambda tensor, call: maps.append(tensor)}
    with borrowed(model.net), torch.no_grad(), hooked(model.net, keep):
        model.forward(picture)
    return maps[0][0].argmax(0).cpu(), maps[0].shape[1]
