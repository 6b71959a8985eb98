"""The explained score pulled back through a recorded forward pass."""

from collections.abc import Hashable, Sequence
from itertools import zip_longest

from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.utils.checkpoint import CheckpointError

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.operations import Linear
from seewhy.autodiff.rules import Rules
from seewhy.engine.forward import Forward
from seewhy.engine.requests import INPUT, Through
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.targets.scores import Score


class Pulls:
    """Pulls of one question's score; each is run once, whoever asks for it.

    - `score`: the explained number of each picture, `explained` with its graph.
    """

    def __init__(self, forward: Forward, score: Score):
        self.forward, self.score = forward, score
        self.explained: Float[Tensor, " batch"] = score.of(forward.outputs)
        self.attention: list[tuple[Tensor, Tensor]] | None = None  # once a rollout has read it
        self._gradients: dict[Hashable, Tensor | None] = {}
        self._relevances: dict[Hashable, tuple[Tensor, Ledger]] = {}

    def knows(self, pull: Hashable) -> bool:
        """Whether this pull has been run."""
        return pull in self._gradients or pull in self._relevances

    def gradient(self, at: str, rules: Rules) -> Tensor:
        """The score pulled back to a place under `rules`; raw shape.

        All places that were requested under the same rules come from one backward.
        """
        if (at, rules) not in self._gradients:
            sources, requested = self.forward.sources, self.forward.pulled
            places = [p for p, asked in requested if asked is rules and p in sources]
            pulled = self.pull([sources[place] for place in places], rules)
            self._gradients |= {(p, rules): g for p, g in zip_longest(places, pulled)}
        gradient = self._gradients.get((at, rules))
        if gradient is None:
            raise NotApplicable(self.score.independent_of(at))
        return gradient

    def relevance(self, at: str, rules: Rules, through: Through) -> tuple[Tensor, Ledger]:
        """The relevance R = x * g of a place under `rules`, raw shape, and the books of the pull.

        At the pixels x is the difference from the mean colour, which the network takes for zero.
        """
        key = (at, rules, through)
        if key not in self._relevances:
            pixels = self.forward.pixels
            shape = tuple(pixels.shape[1:])
            ledger = Ledger(pictures=len(pixels), picture_shape=shape, through=through)
            gradient = self.pull_to(at, rules, ledger)
            self._relevances[key] = self._relevance(at, gradient, ledger), ledger
        return self._relevances[key]

    def pull_to(self, at: str, rules: Rules, ledger: Ledger) -> Tensor:
        """One backward to one place, with books of its own."""
        source = [self.forward.sources[at]] if at in self.forward.sources else []
        (gradient,) = self.pull(source, rules, ledger) or [None]
        if gradient is None:
            raise NotApplicable(self.score.independent_of(at))
        return gradient

    def pull(
        self, sources: Sequence[GradientEdge], rules: Rules, ledger: Ledger | None = None
    ) -> Sequence[Tensor | None]:
        """One backward to several places; nothing where the score depends on none."""
        score = self.explained.sum()
        if not score.requires_grad or not sources:
            return []
        try:
            return self.forward.tape.pull(score, sources, rules, ledger)
        except CheckpointError:
            raise SeewhyError(
                f"{self.forward.model.name} runs its layers under activation checkpointing, into "
                "which nothing can be read; turn it off for the explanation"
            ) from None

    def _relevance(self, at: str, gradient: Tensor, ledger: Ledger) -> Tensor:
        forward = self.forward
        if at == INPUT:
            relevance = (forward.pixels.detach() - forward.model.mean.to(gradient)) * gradient
            return relevance if ledger.arrived is None else relevance + ledger.arrived
        made = forward.made.get(at)
        if isinstance(made, Linear):
            return made.relevance(gradient, ledger)
        return forward.activation(at) * gradient
