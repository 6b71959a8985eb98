"""The books of one pull: what does not go on to the inputs of an operation is written here."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(eq=False)
class Ledger:
    """The state of one pull, shared by the rules that are asked during it.

    Operations keep the ledger of the pull that is going on, so it knows nothing about them.

    - `pictures`: how many pictures the batch has.
    - `constants`: what biases and other constants took of the explained score, per picture.
    - `arrived`: relevance that rules for the first layer put straight on the picture.
    - `last`: the linear operations nearest to the explained score.
    - `reference`: the operations of another forward, by kind and number, to compare with.
    """

    pictures: int = 1
    constants: Float[Tensor, " batch"] | None = None
    arrived: Float[Tensor, "batch channels height width"] | None = None
    last: frozenset[Hashable] = frozenset()
    reference: dict[tuple[str, int], Any] = field(default_factory=dict)

    def credit(self, shares: Tensor) -> None:
        """Add what constants took, in the shape of an activation."""
        total = self._per_picture(shares).to(torch.promote_types(shares.dtype, torch.float32))
        self.constants = total if self.constants is None else self.constants + total

    def arrive(self, relevance: Float[Tensor, "batch channels height width"]) -> None:
        """Add relevance of the picture's own numbers."""
        self.arrived = relevance if self.arrived is None else self.arrived + relevance

    def _per_picture(self, shares: Tensor) -> Float[Tensor, " batch"]:
        """Sums over all but the pictures, wherever the network keeps them.

        Windows are folded into the batch picture by picture; some attention has tokens first.
        """
        if shares.shape[0] != self.pictures and shares.shape[1:2] == (self.pictures,):
            shares = shares.transpose(0, 1)
        if shares.shape[0] % self.pictures == 0:
            return shares.reshape(self.pictures, -1).sum(1)
        return shares.sum().expand(self.pictures) / self.pictures
