"""The input of a method: a recorded forward pass, one question about it, and the settings.

`Forward` holds the recorded values, `Pulls` runs backward passes, `PassCounter` counts passes.
Another question or another method gets another recording of the same forward pass.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.rules import GRADIENT, Rules
from seewhy.engine.cost import PassCounter
from seewhy.engine.forward import Forward
from seewhy.engine.pulls import Pulls
from seewhy.engine.requests import ATTENTION, INPUT, Request, Through
from seewhy.engine.runners import FastRunner, InstrumentedRunner, Runner
from seewhy.models.addresses import Address
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.support.settings import Settings
from seewhy.targets.questions import questions
from seewhy.targets.scores import Outputs
from seewhy.targets.terms import TargetLike

__all__ = ["ATTENTION", "INPUT", "Recording", "Request", "recorded"]

T = TypeVar("T")


class Recording:
    """One question about a recorded forward pass.

    - `pixels`, `logits`: input and output. - `score`: the explained score of each picture: the
      logit of class `target`, or, if that is -1, the score that `asked` describes.
    - `scores`: those of all questions. - `cost`, `notes`: the method adds to these.
    """

    def __init__(self, pulls: Pulls, number: int, settings: Settings, answers: dict[Hashable, Any]):
        self.pulls, self.forward, self.number = pulls, pulls.forward, number
        self.settings, self.cost, self._answers = settings, PassCounter(), answers
        self.notes: list[str] = []
        self.model, self.pixels = self.forward.model, self.forward.pixels
        self.logits, self.scores = self.forward.logits, self.forward.scores
        self.layer_graph, self.watched = self.forward.layer_graph, self.forward.watched
        self.asked, self.target = pulls.score, pulls.score.target
        self.score: Float[Tensor, " batch"] = pulls.explained.detach().float()

    def about(self, number: int) -> "Recording":
        """Return a recording of the same forward pass for another question."""
        if number == self.number:
            return self
        pulls = Pulls(self.forward, self.scores[number])
        return Recording(pulls, number, self.settings, self._answers)

    def anew(self, settings: Settings) -> "Recording":
        """Return a recording for the next method: backward passes are reused, and counted again."""
        return Recording(self.pulls, self.number, settings, self._answers)

    def answer(self, key: Hashable, compute: Callable[[], Sequence[T]]) -> T:
        """Return the result for this question; `compute` is called once, for all questions."""
        if key not in self._answers:
            before = self.cost.spent
            self._answers[key] = compute(), self.cost.since(before)
        else:
            self.cost.drew_on(*self._answers[key][1])
        return self._answers[key][0][self.number]

    def activation(self, at: str) -> Tensor:
        """Return the raw output of the layer at the address."""
        return self.forward.activation(at)

    def maps(self, at: str, values: Tensor | None = None) -> Float[Tensor, "batch channels h w"]:
        """Return the activation (or `values` of its shape) as maps; raise if it has no grid."""
        return self.forward.maps(at, self.activation(at) if values is None else values)

    def gradient(self, at: str = INPUT, rules: Rules = GRADIENT) -> Tensor:
        """Return the score pulled back to a requested address under `rules`, in the raw shape."""
        self.cost.pulled(rules, self.pulls.knows((at, rules)))
        return self.pulls.gradient(at, rules)

    def relevance(self, at: str, rules: Rules, through: Through = ()) -> tuple[Tensor, Ledger]:
        """Return the relevance R = x * g at an address, in the raw shape, and the pull's ledger.

        `through` holds channels for all pictures, or tuples with one channel per picture.
        """
        known = self.pulls.knows((at, rules, through))
        relevance = self.pulls.relevance(at, rules, through)
        self.cost.pulled((at, rules, through), known)
        return relevance

    def run(self, pixels: Tensor, *watched: Any, places: Collection[Address] = ()) -> Outputs:
        """Run the network on other pixels, inside the context manager `watched` if one is given."""
        outputs = self.forward.run(pixels, *watched, places=places)
        self.cost.ran(forwards=len(pixels) / len(self.pixels))
        return outputs

    def variants(self) -> Runner:
        """Return the fastest suitable runner for many variants of the pictures."""
        plain = not (self.watched or self.model.edits)
        return (FastRunner if plain else InstrumentedRunner)(self.forward, self.cost)


@contextmanager
def recorded(
    model: Model,
    pixels: Tensor,
    requests: Sequence[Request],
    target: TargetLike,
    settings: Settings,
) -> Iterator[Recording]:
    """Run one forward pass and keep what `requests` specify while the block runs."""
    all_targets = questions(target, len(pixels), model, pixels)
    with borrowed(model.net):
        forward = Forward(model, pixels, requests, all_targets, settings.precision)
        yield Recording(Pulls(forward, forward.scores[0]), 0, settings, {})
