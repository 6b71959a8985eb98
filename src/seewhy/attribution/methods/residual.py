"""What is missing from the score in the relevance of pixels and constants, as a share of the score.

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


def residual(
    recording: Recording, arrived: Float[Tensor, " batch"], ledger: Ledger, rules: Rules
) -> Float[Tensor, " batch"]:
    """The share of each picture's score that is missing.

    - `arrived`: the sum over the pixels of each picture. - `ledger`: the books of the pull under
      `rules`.
    """
    score = recording.pulls.explained.detach()
    kept = torch.zeros_like(score) if ledger.constants is None else ledger.constants
    missing = _share(score - arrived - kept, score)
    if ledger.guessed and bool((missing > CLOSE).any()):
        kept = recording.pulls.constants_one_by_one(rules)
        recording.cost.ran(backwards=len(score))
        missing = _share(score - arrived - kept, score)
    return missing.float()


def _share(missing: Tensor, score: Tensor) -> Tensor:
    return missing.abs() / score.abs().clamp_min(1e-12)
