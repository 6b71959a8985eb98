"""The ledger of one backward pass: it records relevance that is not passed on to any input."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(eq=False)
class Ledger:
    """The state of one backward pass (a "pull"), shared by the rules that are called in it.

    Each operation holds the ledger of the current pull, so the ledger need not know operations.

    - `pictures`: the number of pictures in the batch.
    - `constants`: the relevance absorbed by biases and other constants, per picture.
    - `arrived`: relevance that rules for the first layer assign directly to the pixels.
    - `last`: the linear operations nearest to the explained score.
    - `guessed`: whether the pictures' axis of some activation was a guess.
    - `reference`: the operations of a reference forward pass, by kind and number.
    """

    pictures: int = 1
    constants: Float[Tensor, " batch"] | None = None
    arrived: Float[Tensor, "batch channels height width"] | None = None
    last: frozenset[Hashable] = frozenset()
    guessed: bool = False
    reference: dict[tuple[str, int], Any] = field(default_factory=dict)

    def credit(self, shares: Tensor) -> None:
        """Add relevance absorbed by constants, given in the shape of an activation."""
        total = self.per_picture(shares).to(torch.promote_types(shares.dtype, torch.float32))
        self.constants = total if self.constants is None else self.constants + total

    def arrive(self, relevance: Float[Tensor, "batch channels height width"]) -> None:
        """Add relevance that is assigned directly to the pixels."""
        self.arrived = relevance if self.arrived is None else self.arrived + relevance

    def per_picture(self, shares: Tensor) -> Float[Tensor, " batch"]:
        """Sum over all axes but the pictures, whose axis depends on the network.

        Windows are folded into the batch picture by picture; some attention layers have the tokens
        first and the batch second. Where shapes leave a choice, `guessed` becomes True.
        """
        second = shares.shape[1:2] == (self.pictures,)
        self.guessed |= self.pictures > 1 and (second or shares.shape[0] != self.pictures)
        if shares.shape[0] != self.pictures and second:
            shares = shares.transpose(0, 1)
        if shares.shape[0] % self.pictures == 0:
            return shares.reshape(self.pictures, -1).sum(1)
        return shares.sum().expand(self.pictures) / self.pictures
