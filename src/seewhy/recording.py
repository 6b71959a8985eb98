"""One forward of a batch, with all that a panel of methods wants to read from it.

Methods say beforehand what they will read (`Reading`): activations at a layer, gradients at
the input or a layer, under which rules. The forward then records just that, and gradients at
several places under the same rules are pulled back together. If nobody reads the input, no
graph is built before the shallowest layer that somebody reads, so Grad-CAM costs a forward
and the backward of the head.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.checkpoint import CheckpointError

from seewhy.addresses import Address
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.model import Model
from seewhy.rules import GRADIENT, Rules
from seewhy.session import borrowed
from seewhy.settings import Settings
from seewhy.tap import not_as_a_batch
from seewhy.tape import Tape
from seewhy.targets import resolve
from seewhy.visiting import visiting

INPUT = "input"


@dataclass(frozen=True)
class Reading:
    """What a method reads: the activation at a place and, under `rules`, its gradient."""

    at: str = INPUT
    rules: Rules | None = GRADIENT


class Recording:
    """A recorded forward; made by `recorded`.

    - `pixels`: what went in, [batch, channels, height, width] in [0, 1].
    - `logits`: what came out. `target`: the index of the class that is explained, per picture.
    - `forwards`, `backwards`: passes per picture that were drawn on so far; `shared` of them
      had been run already.
    """

    def __init__(
        self, model: Model, pixels: Tensor, readings: Sequence[Reading], settings: Settings
    ):
        self.model = model
        self.settings = settings
        self.forwards = self.backwards = self.shared = 0.0
        self._drawn: set[Rules] = set()
        self._places = {r.at: Address.parse(r.at) for r in readings if r.at != INPUT}
        self._pulled = {(r.at, r.rules) for r in readings if r.rules is not None}
        self.tape = Tape({kind for _, rules in self._pulled for kind in rules.by_kind})
        self._gradients: dict[tuple[str, Rules], Tensor | None] = {}
        self._values: dict[str, Tensor] = {}
        self._sources: dict[str, GradientEdge] = {}
        model.settle(pixels)
        self.anatomy = model.anatomy(pixels) if self._places else None
        self.pixels = pixels.detach().to(model.device, model.dtype, copy=True)
        self.pixels.requires_grad_(any(self._from_the_input(at) for at, _ in self._pulled))
        if self.pixels.requires_grad:
            self._sources[INPUT] = get_gradient_edge(self.pixels)
        visitors = {a.layer: self._visitor(a.layer) for a in self._places.values()}
        with visiting(model.net, visitors), self.tape:
            self._logits = self._forward(self.pixels)
        self.logits: Float[Tensor, "batch classes"] = self._logits.detach().float()
        self.target: Int[Tensor, " batch"] = self.logits.argmax(1)

    def begin(self, settings: Settings) -> None:
        """Count anew for the next method of the panel, which draws on the recorded forward."""
        self.settings = settings
        self.forwards, self.backwards, self.shared = 1.0, 0.0, 1.0
        self._drawn.clear()

    def activation(self, at: str) -> Tensor:
        """The raw output of the layer at the address."""
        if at == INPUT:
            return self.pixels.detach()
        if at not in self._values:
            raise NotApplicable(not_as_a_batch(at))
        return self._values[at]

    def maps(self, at: str, values: Tensor | None = None) -> Float[Tensor, "batch channels h w"]:
        """The activation (or `values` of its shape) as maps; raises where there is no grid."""
        values = self.activation(at) if values is None else values
        if at == INPUT or self.anatomy is None:
            return values.float()
        address = self._places[at]
        layer = self.anatomy.layer(address.layer)
        if layer.grid is None:
            raise SeewhyError(
                f"{layer.name} puts out {layer.shape}, which has no rows and columns; "
                f"the deepest layer that has is {self.anatomy.spatial}"
            )
        if len(values) != len(self.pixels):
            raise NotApplicable(not_as_a_batch(at))
        maps = layer.grid.maps(values).float()
        return maps if address.channel is None else maps[:, address.channel, None]

    @property
    def score(self) -> Float[Tensor, " batch"]:
        """The explained logit, per picture."""
        return self.logits.gather(1, self.target[:, None])[:, 0]

    def gradient(self, at: str = INPUT, rules: Rules = GRADIENT) -> Tensor:
        """The explained logit pulled back to a place under `rules`; raw shape.

        All places read under the same rules come from one backward, and count as one.
        """
        known = (at, rules) in self._gradients
        if not known:
            places = [p for p, asked in self._pulled if asked is rules and p in self._sources]
            sources = [self._sources[place] for place in places]
            score = self._logits.gather(1, self.target[:, None]).sum()
            try:
                pulled = self.tape.pull(score, sources, rules) if score.requires_grad else []
            except CheckpointError:
                raise SeewhyError(
                    f"{self.model.name} runs its layers under activation checkpointing, into which "
                    "nothing can be read; turn it off for the explanation"
                ) from None
            self._gradients |= {(p, rules): g for p, g in zip_longest(places, pulled)}
        if rules not in self._drawn:
            self._drawn.add(rules)
            self.backwards += 1
            self.shared += known
        gradient = self._gradients.get((at, rules))
        if gradient is None:
            raise NotApplicable(f"the explained score does not depend on {at}")
        return gradient

    def summed_gradient(
        self, point: Callable[[int], Tensor], weights: Float[Tensor, " points"]
    ) -> Float[Tensor, "batch channels height width"]:
        """sum_k weights[k] * gradient of the explained logit at the pixels point(k).

        Points are run in as few forwards as the batch bound allows.
        """
        # In half precision small gradients would vanish between the terms.
        wide = torch.promote_types(self.pixels.dtype, torch.float32)
        total = torch.zeros_like(self.pixels, dtype=wide, requires_grad=False)
        batch = len(total)
        most = self.settings.pictures_together(total, self.model.device)
        together = max(1, most // batch)
        for start in range(0, len(weights), together):
            numbers = range(start, min(start + together, len(weights)))
            pixels = torch.cat([point(k) for k in numbers]).detach().requires_grad_()
            scores = self._forward(pixels).gather(1, self.target.repeat(len(numbers))[:, None])
            (gradient,) = torch.autograd.grad(scores.sum(), pixels)
            weight = weights[start : numbers.stop].to(total)
            terms = gradient.to(wide).unflatten(0, (len(numbers), batch))
            total += torch.einsum("k,k...->...", weight, terms)
            self.backwards += len(numbers)
            if self.settings.progress:
                self.settings.progress(numbers.stop, len(weights))
        return total

    def logits_of(self, pixels: Tensor) -> Float[Tensor, "others classes"]:
        """Logits of other pixels, without gradients."""
        with torch.no_grad():
            return self._forward(pixels).float()

    def _from_the_input(self, at: str) -> bool:
        """Whether a gradient there needs the whole graph.

        A layer that hands on its own input cannot begin a graph: its output has another name.
        """
        if at == INPUT or self.anatomy is None:
            return True
        layer = self.anatomy.layer(self._places[at].layer)
        in_place = getattr(self.model.net.get_submodule(layer.name), "inplace", False)
        return layer.passive or in_place

    def _forward(self, pixels: Tensor) -> Tensor:
        self.forwards += len(pixels) / len(self.pixels)
        fast = self.settings.precision == "fast"
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=fast):
            return self.model.forward(pixels)

    def _visitor(self, layer: str) -> Callable[[Tensor, int], Tensor | None]:
        wanted = {at: address for at, address in self._places.items() if address.layer == layer}
        pulled = {at for at, _ in self._pulled}
        assert self.anatomy is not None
        calls = {at: self.anatomy.call(address) for at, address in wanted.items()}
        for address in wanted.values():
            self.anatomy.index(address)  # a channel that does not exist is refused here
            if address.position:
                raise SeewhyError(f"{address}: a map needs every row and column; leave @ out")

        def visit(tensor: Tensor, call: int) -> Tensor | None:
            here = [at for at in wanted if calls[at] == call]
            if not here:
                return None
            # A copy is kept: what follows in the network may write into the tensor.
            self._values.update(dict.fromkeys(here, tensor.detach().clone()))
            if tensor.requires_grad:
                self._sources.update(dict.fromkeys(here, get_gradient_edge(tensor)))
                return None
            if not pulled.intersection(here):
                return None
            start = tensor.detach().requires_grad_()  # the graph begins here
            self._sources.update(dict.fromkeys(here, get_gradient_edge(start)))
            return start.clone()

        return visit


@contextmanager
def recorded(
    model: Model, pixels: Tensor, readings: Sequence[Reading], target: Any, settings: Settings
) -> Iterator[Recording]:
    """Run one forward and keep what `readings` ask for while the block runs."""
    with borrowed(model.net):
        recording = Recording(model, pixels, readings, settings)
        recording.target = resolve(target, recording.logits, model)
        yield recording
