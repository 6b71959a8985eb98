"""Pull the explained score back through a recorded forward pass."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import zip_longest

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.utils.checkpoint import CheckpointError

from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.operations import Linear
from seewhy.autodiff.rules import Rules
from seewhy.engine.forward import Forward
from seewhy.engine.requests import INPUT, Through, place_of
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.models.addresses import Address
from seewhy.support.user_code import Raised, is_ours, is_reported, report
from seewhy.targets.scores import Score


class Pulls:
    """The backward passes ("pulls") of one question's score; each is run once and cached.

    - `score`: the explained score as a function. - `explained`: its value for each picture, with
      the graph.
    """

    def __init__(self, forward: Forward, score: Score):
        self.forward, self.score = forward, score
        self.explained: Float[Tensor, " batch"] = score.of(forward.outputs)
        self.attention: list[tuple[Tensor, Tensor]] | None = None  # once a rollout has read it
        self._gradients: dict[Hashable, Tensor | None] = {}
        self._relevances: dict[Hashable, tuple[Tensor, Ledger]] = {}

    def knows(self, pull: Hashable) -> bool:
        """Return whether this backward pass has been run."""
        return pull in self._gradients or pull in self._relevances

    def gradient(self, at: str, rules: Rules) -> Tensor:
        """Return the score pulled back to the address `at` under `rules`, in the raw shape.

        One backward pass serves all addresses that were requested under the same rules.
        """
        if (at, rules) not in self._gradients:
            sources, requested = self.forward.sources, self.forward.pulled
            addresses = [a for a, rule_set in requested if rule_set is rules and a in sources]
            pulled = self.pull([sources[address] for address in addresses], rules)
            self._gradients |= {(a, rules): g for a, g in zip_longest(addresses, pulled)}
        gradient = self._gradients.get((at, rules))
        if gradient is None:
            raise NotApplicable(self.score.independent_of(at))
        return gradient

    def relevance(self, at: str, rules: Rules, through: Through) -> tuple[Tensor, Ledger]:
        """Return the relevance R = x * g at an address, in the raw shape, and the pull's ledger.

        At the pixels, x is the difference from the mean colour, which normalisation maps to zero.
        """
        key = (at, rules, through)
        if key not in self._relevances:
            ledger = Ledger(pictures=len(self.forward.pixels))
            gradient = self.pull_to(at, rules, ledger, through)
            self._relevances[key] = self._relevance(at, gradient, ledger), ledger
        return self._relevances[key]

    def constants_one_by_one(self, rules: Rules) -> Float[Tensor, " batch"]:
        """What constants absorb of each picture's score, from a backward to the pixels for each."""
        kept = torch.zeros_like(self.explained.detach())
        for i, score in enumerate(self.explained):
            ledger = Ledger()
            self.forward.tape.pull(score, [self.forward.sources[INPUT]], rules, ledger)
            if ledger.constants is not None:
                kept[i] = ledger.constants[0]
        return kept

    def pull_to(self, at: str, rules: Rules, ledger: Ledger, through: Through = ()) -> Tensor:
        """Run a backward pass to one address, with its own ledger, via the channels in `through`.

        Raises NotApplicable if the score does not depend on the address via these channels.
        """
        if self.forward.tape.without_rule:
            names = ", ".join(f"torch's {name}" for name in sorted(self.forward.tape.without_rule))
            raise NotApplicable(
                f"{self.forward.model.name} runs {names}, for which {rules.name} has no rule; use "
                "a method that needs only the gradient"
            )
        channels: dict[Address, list[str | tuple[str, ...]]] = defaultdict(list)
        for channel in through:
            channels[place_of(channel)].append(channel)
        # From the last gate to the first; layers that are not in the graph come first and raise.
        ran = [place for place in reversed(self.forward.gates) if place in channels]
        start = None
        for place in [*(place for place in channels if place not in ran), *ran]:
            gate, layer_graph = self.forward.gates.get(place), self.forward.layer_graph
            cotangent = self._pulled(gate and gate.edge, rules, ledger, start)
            if cotangent is None or gate is None or layer_graph is None:
                raise NotApplicable(self._not_passed(str(place), start is not None))
            restricted = gate.restricted(cotangent, channels[place], layer_graph)
            start = gate.edge, restricted
        gradient = self._pulled(self.forward.sources.get(at), rules, ledger, start)
        if gradient is None:
            raise NotApplicable(self._not_passed(at, start is not None))
        return gradient

    def pull(
        self,
        sources: Sequence[GradientEdge],
        rules: Rules,
        ledger: Ledger | None = None,
        start: tuple[GradientEdge, Tensor] | None = None,
    ) -> Sequence[Tensor | None]:
        """Run one backward pass to several sources; return [] if there is no graph or no source.

        `start`: an edge and its cotangent, from which to start instead of the score.
        """
        score = self.explained.sum()
        if not score.requires_grad or not sources:
            return []
        try:
            return self.forward.tape.pull(score, sources, rules, ledger, start)
        except CheckpointError:
            raise SeewhyError(
                f"{self.forward.model.name} uses activation checkpointing, which hides its layers; "
                "turn it off for the explanation"
            ) from None
        except Raised as error:
            if is_reported(error) or is_ours(error):
                raise
            what = f"the backward pass of {self.forward.model.name}"
            raise report(what, error) from error

    def _pulled(
        self,
        source: GradientEdge | None,
        rules: Rules,
        ledger: Ledger,
        start: tuple[GradientEdge, Tensor] | None,
    ) -> Tensor | None:
        return next(iter(self.pull([source] if source else [], rules, ledger, start)), None)

    def _not_passed(self, at: str, restricted: bool) -> str:
        """Return the error message if nothing reaches the address."""
        reason = self.score.independent_of(at)
        return f"{reason} via the channels in through" if restricted else reason

    def _relevance(self, at: str, gradient: Tensor, ledger: Ledger) -> Tensor:
        forward = self.forward
        if at == INPUT:
            relevance = (forward.pixels.detach() - forward.model.mean.to(gradient)) * gradient
            return relevance if ledger.arrived is None else relevance + ledger.arrived
        made = forward.made.get(at)
        if isinstance(made, Linear):
            return made.relevance(gradient, ledger)
        return forward.activation(at) * gradient
