"""Whether the relevance of pixels and constants adds up to the score, and what constants keep.

What constants keep is added up per picture. Some networks fold windows, tokens or heads into the
batch, or put tokens first, so which numbers belong to which picture is a guess from shapes. Where
something is missing and a guess was made, the pictures are pulled back one by one, which leaves
nothing to guess.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.rules import Rules
from seewhy.engine.recording import Recording

CLOSE = 1e-3  # a smaller share that is missing needs no second look

Shares = Float[Tensor, " batch"]


def balance(
    recording: Recording, arrived: Float[Tensor, " batch"], ledger: Ledger, rules: Rules
) -> tuple[Shares, Shares]:
    """The share of each picture's score that is missing (without a sign), and that constants keep.

    - `arrived`: the sum over the pixels of each picture. - `ledger`: the books of the pull under
      `rules`.
    """
    score = recording.pulls.explained.detach()
    size = score.abs().clamp_min(1e-12)
    kept = torch.zeros_like(score) if ledger.constants is None else ledger.constants
    missing = (arrived + kept - score).abs() / size
    if ledger.guessed and bool((missing > CLOSE).any()):
        kept = recording.pulls.constants_one_by_one(rules)
        recording.cost.ran(backwards=len(score))
        missing = (arrived + kept - score).abs() / size
    return missing.float(), (kept * score.sign() / size).float()
