"""Which output is explained."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.model import Model

Target = int | str | Sequence[int | str] | Tensor | None


def resolve(
    target: Target, logits: Float[Tensor, "batch classes"], model: Model
) -> Int[Tensor, " batch"]:
    """The index of the class to explain, per picture.

    None takes each picture's most probable class; one index or class name holds for all
    pictures; a sequence has one per picture.
    """
    batch, classes = logits.shape
    if target is None:
        return logits.argmax(1)
    if isinstance(target, Tensor | Sequence) and not isinstance(target, str):
        each = target.tolist() if isinstance(target, Tensor) else list(target)
        each = each if isinstance(each, list) else [each] * batch
        if len(each) != batch:
            raise SeewhyError(
                f"{len(each)} targets for {batch} pictures; give one, or one for each"
            )
    else:
        each = [target] * batch
    indices = [model.class_index(t, classes) for t in each]
    return torch.tensor(indices, device=logits.device)
