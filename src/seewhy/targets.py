"""Which output is explained."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.model import Model

Target = int | str | Sequence[int | str] | Tensor | np.ndarray | np.integer | None


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
    indices = [model.class_index(t, classes) for t in for_each(target, batch)]
    return torch.tensor(indices, device=logits.device)


def for_each(target: Target, count: int) -> list:
    """The target of each of `count` pictures."""
    if isinstance(target, Tensor | np.ndarray | np.generic):
        target = target.tolist()
    if target is None or isinstance(target, str) or not isinstance(target, Sequence):
        return [target] * count
    if len(target) != count:
        raise SeewhyError(f"{len(target)} targets for {count} pictures; give one, or one for each")
    return list(target)
