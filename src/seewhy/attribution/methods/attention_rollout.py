"""Attention rollout: from which patches does information reach the output?

    rollout = B_L ... B_2 B_1,    B_l = (A_l + I) / 2, rows normalised to sum 1,
                                  A_l = mean over heads of the attention of layer l

and the map is the row of the token that the logits are read from (the class token, or the mean over
all averaged tokens). The identity represents the residual connections. Neither the class nor a
gradient is used, except to find the token that is read.
Samira Abnar, Willem Zuidema: Quantifying Attention Flow in Transformers, 2020, arXiv 2005.00928.

Jacob Gildenblat (Exploring Explainability for Vision Transformers, 2020) fuses heads by their
maximum or minimum instead, and sets the smallest attention weights of each layer to zero: `fusion`,
`discard`.

It misleads by looking plausible: the map is the same for every class; it ignores value vectors,
MLPs and signs; and in deep networks it tends to be uniform.

    seewhy.explain(model, "dog.jpg", "attention-rollout", fusion="max", discard=0.9)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import check
from seewhy.attribution.methods.rollout import Heads, Rollout, Row
from seewhy.errors import Unknown

_FUSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda heads: heads.mean(1),
    "max": lambda heads: heads.amax(1),
    "min": lambda heads: heads.amin(1),
}


@dataclass(frozen=True)
class AttentionRollout(Rollout):
    """The product of the attention matrices of all layers; the same for every class.

    - `fusion`: how the heads of a layer are combined: "mean", "max" or "min".
    - `discard`: the fraction of each layer's attention weights, the smallest, set to zero; in
    [0, 1).
    """

    name = "attention-rollout"
    question = "From which patches does information reach the output?"
    source = "Abnar, Zuidema 2020, arXiv 2005.00928"

    fusion: str = "mean"
    discard: float = 0.0

    def __post_init__(self) -> None:
        if self.fusion not in _FUSIONS:
            raise Unknown("fusion", self.fusion, _FUSIONS, hint="mean, max or min")
        check(0 <= self.discard < 1, f"{self.name}: discard must be in [0, 1), not {self.discard}")

    def before(self, row: Row, attention: Heads, gradient: Heads) -> Row:
        """Return row B."""
        A = _without_weakest(_FUSIONS[self.fusion](attention), self.discard)
        B = A + torch.eye(A.shape[-1], device=A.device)
        B = B / B.sum(2, keepdim=True)
        return torch.einsum("bi,bij->bj", row, B)


def _without_weakest(
    attention: Float[Tensor, "batch tokens tokens"], share: float
) -> Float[Tensor, "batch tokens tokens"]:
    """Set the smallest `share` of the entries of each picture to zero."""
    values = attention.flatten(1)
    weakest = values.topk(int(share * values.shape[1]), largest=False).indices
    return values.scatter(1, weakest, 0).view_as(attention)
