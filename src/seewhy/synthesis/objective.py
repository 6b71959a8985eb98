"""The scores of several pictures, each with a target of its own, from one forward pass.

The forward pass stops at the deepest layer that a target reads; if a target is a class, the whole
network runs. The scores of different pictures are independent.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.activations.capture import Reached
from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address
from seewhy.models.hooks import OutputHook, hooked
from seewhy.models.model import Model
from seewhy.targets.scores import Outputs
from seewhy.targets.terms import Hidden, Logit, Target, terms


class Objective:
    """Scores of pictures for their targets, to be maximised.

    - `targets`: one for each picture, with names and texts parsed (see `targets.questions`).
    - `probe`: pixels [1, channels, height, width] of the size of the network's input.

    Raises SeewhyError for a target that is the predicted class, which a new picture does not have.
    """

    def __init__(self, model: Model, targets: Sequence[Target], probe: Tensor):
        self.model = model
        self.targets = tuple(targets)
        self.layer_graph = model.layer_graph(probe)
        self._hidden: dict[Hidden, dict[int, float]] = {}
        self._logits: dict[int | str, dict[int, float]] = {}
        for row, target in enumerate(self.targets):
            for weight, term in terms(target):
                self._table(term)[row] = weight
        self._places = {term.place for term in self._hidden}
        self._calls = {place: self.layer_graph.call(place) for place in self._places}

    def _table(self, term: Target) -> dict[int, float]:
        if isinstance(term, Hidden):
            return self._hidden.setdefault(term, {})
        if isinstance(term, Logit):
            return self._logits.setdefault(term.of_class, {})
        raise SeewhyError(f"{term} cannot be visualised; name a class, a unit or a direction")

    def __call__(
        self,
        pixels: Float[Tensor, "views_of_rows c h w"],
        rows: Int[Tensor, " rows"],
        recording: AbstractContextManager | None = None,
    ) -> Float[Tensor, " views_of_rows"]:
        """Return the score of each view, for the targets of `rows`; differentiable.

        `pixels` are one or several views of the rows, view by view. `recording` is active while
        the network runs. To be called inside `session.borrowed`.
        """
        outputs = self._outputs(pixels, recording or nullcontext())
        of_view = rows.tolist() * (len(pixels) // len(rows))
        scores = pixels.new_zeros(len(pixels), dtype=torch.promote_types(pixels.dtype, torch.float))
        for named, weights in self._logits.items():
            for at, weight in _used(of_view, weights):
                index = self.model.class_index(named, outputs.logits.shape[1])
                scores = scores.index_add(0, at, weight * outputs.logits[at, index].to(scores))
        for term, weights in self._hidden.items():
            for at, weight in _used(of_view, weights):
                values = term.of(outputs.maps(term.place)[at.to(pixels.device)])
                scores = scores.index_add(0, at.to(pixels.device), weight.to(values) * values)
        return scores

    @torch.no_grad()
    def table(self, pixels: Float[Tensor, "pictures c h w"]) -> Float[Tensor, "pictures targets"]:
        """Return the score of each picture for each target, on the CPU."""
        outputs = self._outputs(pixels, nullcontext())
        scores = torch.zeros(len(pixels), len(self.targets))
        for named, weights in self._logits.items():
            values = outputs.logits[:, self.model.class_index(named, outputs.logits.shape[1])]
            for target, weight in weights.items():
                scores[:, target] += weight * values.float().cpu()
        for term, weights in self._hidden.items():
            values = term.of(outputs.maps(term.place)).float().cpu()
            for target, weight in weights.items():
                scores[:, target] += weight * values
        return scores

    def _outputs(self, pixels: Tensor, recording: AbstractContextManager) -> Outputs:
        found: dict[Address, Tensor] = {}
        logits = None
        with ExitStack() as stack:
            stack.enter_context(hooked(self.model.net, self._hooks(found)))
            stack.enter_context(suppress(Reached))
            logits = self.model.forward(pixels, recording)
        if logits is None:
            logits = pixels.new_zeros(len(pixels), 0)
        return Outputs(logits, found, self.layer_graph)

    def _hooks(self, found: dict[Address, Tensor]) -> dict[str, OutputHook]:
        def hook_for(layer: str) -> OutputHook:
            def hook(tensor: Tensor, call: int) -> None:
                for place in self._places:
                    if place.layer == layer and self._calls[place] == call:
                        found[place] = tensor.clone()  # later operations may overwrite it
                if len(found) == len(self._places) and not self._logits:
                    raise Reached

            return hook

        return {place.layer: hook_for(place.layer) for place in self._places}


def _used(rows: list[int], weights: dict[int, float]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the positions of the rows that have a weight, and the weights, if there are any."""
    at = [position for position, row in enumerate(rows) if row in weights]
    if at:
        yield torch.tensor(at), torch.tensor([weights[rows[position]] for position in at])
