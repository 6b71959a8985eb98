"""Gradient-weighted rollout: from which patches does evidence for the class reach the output?

    R = (I + A'_L) ... (I + A'_2) (I + A'_1),    A'_l = mean over heads of relu(g_l * A_l)

with A_l the attention of layer l and g_l = d score / d A_l; the map is the row of the token that
the logits are read from (the class token, or the mean over all averaged tokens). Only attention
that would raise the score if it increased counts, so the map is class-specific.
Hila Chefer, Shir Gur, Lior Wolf: Generic Attention-model Explainability, 2021, arXiv 2103.15679,
equations 5 and 6 (R <- R + A' R, from the identity), for self-attention.

It misleads where the score saturates, and where evidence passes through MLPs and value vectors,
which it ignores; it also omits evidence against the class.

    seewhy.explain(model, "dog.jpg", "gradient-rollout", target="tabby")
"""

from dataclasses import dataclass

import torch

from seewhy.attribution.methods.rollout import Heads, Rollout, Row


@dataclass(frozen=True)
class GradientRollout(Rollout):
    """Attention that raises the score, accumulated over all layers."""

    name = "gradient-rollout"
    question = "From which patches does evidence for the class reach the output?"
    source = "Chefer, Gur, Wolf 2021, arXiv 2103.15679"

    def before(self, row: Row, attention: Heads, gradient: Heads) -> Row:
        """Return row (I + A')."""
        return row + torch.einsum("bi,bij->bj", row, (gradient * attention).relu().mean(1))
