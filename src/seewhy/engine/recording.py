"""What a method is given: a recorded forward pass, one question about it, and how to run.

`Forward` ran the network and kept what was requested, `Pulls` pulls the score back, `PassCounter`
counts. A recording is a value: another question or method is another recording of the same forward.
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

    - `pixels`, `logits`: input and output. - `score`: the explained number of each picture; the
      logit of class `target`, or what `asked` says where that is -1. - `scores`: of all questions.
    - `cost`, `notes`: for the method to add to.
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
        """The same forward with another question."""
        if number == self.number:
            return self
        pulls = Pulls(self.forward, self.scores[number])
        return Recording(pulls, number, self.settings, self._answers)

    def anew(self, settings: Settings) -> "Recording":
        """The same question for the next method; what was pulled is known, and counts anew."""
        return Recording(self.pulls, self.number, settings, self._answers)

    def answer(self, key: Hashable, compute: Callable[[], Sequence[T]]) -> T:
        """What `compute` finds for this question; it answers all of them, and is called once."""
        if key not in self._answers:
            before = self.cost.spent
            self._answers[key] = compute(), self.cost.since(before)
        else:
            self.cost.drew_on(*self._answers[key][1])
        return self._answers[key][0][self.number]

    def activation(self, at: str) -> Tensor:
        """The raw output of the layer at the address."""
        return self.forward.activation(at)

    def maps(self, at: str, values: Tensor | None = None) -> Float[Tensor, "batch channels h w"]:
        """The activation (or `values` of its shape) as maps; raises where there is no grid."""
        return self.forward.maps(at, self.activation(at) if values is None else values)

    def gradient(self, at: str = INPUT, rules: Rules = GRADIENT) -> Tensor:
        """The explained score pulled back to a requested place under `rules`; raw shape."""
        self.cost.pulled(rules, self.pulls.knows((at, rules)))
        return self.pulls.gradient(at, rules)

    def relevance(self, at: str, rules: Rules, through: Through = ()) -> tuple[Tensor, Ledger]:
        """The relevance R = x * g of a place under `rules`, raw shape, and the books of the pull.

        `through` holds channels that count for all pictures, or a tuple with one each.
        """
        known = self.pulls.knows((at, rules, through))
        found = self.pulls.relevance(at, rules, through)
        self.cost.pulled((at, rules, through), known)
        return found

    def run(self, pixels: Tensor, *watched: Any, places: Collection[Address] = ()) -> Outputs:
        """A forward of other pixels; `watched` is entered while the network runs."""
        outputs = self.forward.run(pixels, *watched, places=places)
        self.cost.ran(forwards=len(pixels) / len(self.pixels))
        return outputs

    def variants(self) -> Runner:
        """The network as it is best run on many variants of the pictures."""
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
    """Run one forward and keep what `requests` ask for while the block runs."""
    asked = questions(target, len(pixels), model, pixels)
    with borrowed(model.net):
        forward = Forward(model, pixels, requests, asked, settings.precision)
        yield Recording(Pulls(forward, forward.scores[0]), 0, settings, {})
