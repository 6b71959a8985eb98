"""One forward of a batch, with all that a panel of methods wants to read from it.

Methods say beforehand what they will read (`Reading`): activations at a layer, gradients at
the input or a layer, under which rules. The forward then records just that, and gradients at
several places under the same rules are pulled back together. If nobody reads the input, no
graph is built before the shallowest layer that somebody reads, so Grad-CAM costs a forward
and the backward of the head.
"""

import dataclasses
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.checkpoint import CheckpointError

from seewhy.autodiff.attention import attentions, per_picture
from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.rules import GRADIENT, Rules
from seewhy.autodiff.rules.rescale import OTHER_OPERATIONS, beside
from seewhy.autodiff.tape import Logged, Tape, made_by, stands_for
from seewhy.engine.inference import Inference, prepare
from seewhy.engine.runners import FastRunner, InstrumentedRunner, Runner
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.models.addresses import Address
from seewhy.models.edits import not_as_a_batch
from seewhy.models.hooks import hooked
from seewhy.models.layers import LayerGraph
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.support.batching import BatchSizer
from seewhy.support.settings import Settings
from seewhy.targets.questions import hidden_of, questions
from seewhy.targets.scores import Outputs, Score, resolve, watching
from seewhy.targets.terms import Target, TargetLike

INPUT = "input"
ATTENTION = "attention"
T = TypeVar("T")
Through = tuple[str | tuple[str, ...], ...]

_NO_LAYER = (INPUT, ATTENTION)
_UNWATCHED = nullcontext()


@dataclass(frozen=True)
class Request:
    """What a method reads: the activation at a place and, under `rules`, its gradient.

    - `at`: a layer's address, INPUT for the pixels, ATTENTION for all attention matrices.
    - `through`: addresses of channels; what is pulled back passes their layers only there. Of a
      layer, so that channels can be named later.
    """

    at: str = INPUT
    rules: Rules | None = GRADIENT
    through: tuple[str, ...] = ()


class Recording:
    """A recorded forward; made by `recorded`.

    - `pixels`: what went in, [batch, channels, height, width] in [0, 1].
    - `logits`: what came out. `score`: the explained number of each picture, which is the logit
      of the class `target`, or something else where that is -1; `asked` says what.
    - `forwards`, `backwards`: passes per picture that were drawn on so far; `shared` of them
      had been run already.
    """

    def __init__(
        self,
        model: Model,
        pixels: Tensor,
        requests: Sequence[Request],
        settings: Settings,
        questions: Sequence[Sequence[Target]],
    ):
        self.model = model
        self.settings = settings
        self.forwards = self.backwards = self.shared = 0.0
        self._drawn: set[Hashable] = set()
        self._inference: Inference | None = None
        self._places = {r.at: Address.parse(r.at) for r in requests if r.at not in _NO_LAYER}
        self._gates = {place_of(p) for r in requests for p in r.through}
        self._pulled = {(r.at, r.rules) for r in requests if r.rules is not None}
        self._gradients: dict[Hashable, Tensor | None] = {}
        self._relevances: dict[Hashable, tuple[Tensor, Ledger]] = {}
        self._values: dict[str, Tensor] = {}
        self._sources: dict[str, GradientEdge] = {}
        self._made: dict[str, Operation | None] = {}
        self._softmaxes: list[Logged] = []
        model.choose_memory_format(pixels)
        self.layer_graph = model.layer_graph(pixels) if self._places or self._gates else None
        self.pixels = pixels.detach().to(model.device, model.dtype, copy=True)
        self.pixels.requires_grad_(any(self._from_the_input(at) for at, _ in self._pulled))
        if self.pixels.requires_grad:
            self._sources[INPUT] = get_gradient_edge(self.pixels)
        self.tape = self._tape(requests)
        visited = [*self._places.values(), *self._gates]
        hooks = {a.layer: self._visitor(a.layer) for a in visited}
        self.notes: list[str] = []
        self._answers: dict[Hashable, tuple[Sequence[Any], float, float]] = {}
        self.watched = {hidden.place for asked in questions for hidden in hidden_of(asked)}
        with hooked(model.net, hooks):
            self.outputs = self.run(self.pixels, self.tape)
        self.logits: Float[Tensor, "batch classes"] = self.outputs.logits.detach().float()
        self.scores = [resolve(question, self.logits, model) for question in questions]
        self.ask(0)

    def ask(self, number: int) -> None:
        """From now on explain the question of this number; other pulls are forgotten."""
        self.number = number
        self.asked: Score = self.scores[number]
        self.target: Int[Tensor, " batch"] = self.asked.target
        self._score = self.asked.of(self.outputs)
        self.score: Float[Tensor, " batch"] = self._score.detach().float()
        self._gradients.clear()
        self._relevances.clear()

    def begin(self, settings: Settings) -> None:
        """Count anew for the next method of the panel, which draws on the recorded forward."""
        self.settings = settings
        self.forwards, self.backwards, self.shared = 1.0, 0.0, 1.0
        self._drawn.clear()
        self.notes.clear()

    def answer(self, key: Hashable, compute: Callable[[], Sequence[T]]) -> T:
        """What `compute` finds for the question that is asked now.

        It finds an answer to each question of `scores`, and is called once for all of them.
        """
        known = key in self._answers
        if not known:
            forwards, backwards = self.forwards, self.backwards
            found = compute()
            spent = self.forwards - forwards, self.backwards - backwards
            self._answers[key] = found, *spent
        found, forwards, backwards = self._answers[key]
        if known:
            self.forwards += forwards
            self.backwards += backwards
            self.shared += forwards + backwards
        return found[self.number]

    def variants(self) -> Runner:
        """The network as it is best run on many variants of the pictures."""
        return InstrumentedRunner(self) if self.watched or self.model.edits else FastRunner(self)

    @property
    def inference(self) -> Inference:
        """The network without anything that is only there to be looked at; made once."""
        if self._inference is None:
            self._inference = prepare(self.model, self.pixels, self.settings.precision)
        return self._inference

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
        if at == INPUT or self.layer_graph is None:
            return values.float()
        address = self._places[at]
        layer = self.layer_graph.layer(address.layer)
        if layer.grid is None:
            raise SeewhyError(
                f"{layer.name} puts out {layer.shape}, which has no rows and columns; "
                f"the deepest layer that has is {self.layer_graph.spatial}"
            )
        if len(values) != len(self.pixels):
            raise NotApplicable(not_as_a_batch(at))
        maps = layer.grid.maps(values).float()
        return maps if address.channel is None else maps[:, address.channel, None]

    def gradient(self, at: str = INPUT, rules: Rules = GRADIENT) -> Tensor:
        """The explained score pulled back to a place under `rules`; raw shape.

        All places read under the same rules come from one backward, and count as one.
        """
        known = (at, rules) in self._gradients
        if not known:
            places = [p for p, asked in self._pulled if asked is rules and p in self._sources]
            pulled = self._pull([self._sources[place] for place in places], rules)
            self._gradients |= {(p, rules): g for p, g in zip_longest(places, pulled)}
        self._count(rules, known)
        gradient = self._gradients.get((at, rules))
        if gradient is None:
            raise NotApplicable(self.asked.independent_of(at))
        return gradient

    def relevance(self, at: str, rules: Rules, through: Through = ()) -> tuple[Tensor, Ledger]:
        """The relevance R = x * g of a place under `rules`, raw shape, and the books of the pull.

        At the pixels x is the difference from the mean colour, which the network takes for zero.
        `through` holds channels that count for all pictures, or a tuple with one each.
        """
        key = (at, rules, through)
        known = key in self._relevances
        if not known:
            shape = tuple(self.pixels.shape[1:])
            ledger = Ledger(pictures=len(self.pixels), picture_shape=shape, through=through)
            source = [self._sources[at]] if at in self._sources else []
            (gradient,) = self._pull(source, rules, ledger) or [None]
            if gradient is None:
                raise NotApplicable(self.asked.independent_of(at))
            self._relevances[key] = self._relevance(at, gradient, ledger), ledger
        self._count(key, known)
        return self._relevances[key]

    def _relevance(self, at: str, gradient: Tensor, ledger: Ledger) -> Tensor:
        if at == INPUT:
            relevance = (self.pixels.detach() - self.model.mean.to(gradient)) * gradient
            return relevance if ledger.arrived is None else relevance + ledger.arrived
        made = self._made.get(at)
        if isinstance(made, Linear):
            return made.relevance(gradient, ledger)
        return self.activation(at) * gradient

    def differences(
        self, start: Tensor, at: str, rules: Rules
    ) -> tuple[Tensor, Tensor, Float[Tensor, " batch"]]:
        """What separates the pictures from the pixels `start`, with rules that compare the two.

        `start` is a batch of references or a single one, [1, channels, height, width]. Returns
        the difference of the activations at `at` and the multipliers pulled back to it, raw
        shape, and the difference of the explained scores. The graph must begin at the pixels.
        """
        log: dict[str, list[Logged]] = {kind: [] for kind in rules.by_kind}
        pixels = start.detach().to(self.pixels).requires_grad_()
        places = set() if at == INPUT else {self._places[at]}
        tape = Tape(log, pixels, log=log, reads_input=rules.reads_input)
        outputs = self.run(pixels, tape, places)
        if any(tape.seen[kind] != self.tape.seen[kind] for kind in log):
            raise NotApplicable(OTHER_OPERATIONS)
        operations = {(op.kind, op.number): op for ops in log.values() for op, _ in ops}
        ledger = Ledger(pictures=len(self.pixels), reference=operations)
        source = [self._sources[at]] if at in self._sources else []
        (multipliers,) = self._pull(source, rules, ledger) or [None]
        if multipliers is None:
            raise NotApplicable(self.asked.independent_of(at))
        self.backwards += 1
        x = self.activation(at)
        x0 = pixels if at == INPUT else outputs.activations[self._places[at]]
        return x - beside(x0.detach(), x), multipliers, self._rise_from(outputs)

    def _rise_from(self, others: Outputs) -> Float[Tensor, " batch"]:
        """The explained scores less those of another forward, in the network's precision."""
        here = self.outputs
        activations = {
            place: beside(others.activations[place], a) for place, a in here.activations.items()
        }
        score = self.asked.of(
            Outputs(beside(others.logits, here.logits), activations, here.layer_graph)
        )
        return (self._score - score).detach()

    def attention(self) -> list[tuple[Tensor, Tensor]]:
        """Each layer's attention [batch, heads, queries, keys] and its gradient, first to last.

        Layers that the score does not depend on are left out. Raises NotApplicable where
        attention is of parts of pictures, or does not go layer by layer.
        """
        known = ATTENTION in self._gradients
        if not known:
            found = attentions(self._score, self._softmaxes)
            pulled = self._pull([edge for _, edge in found], GRADIENT)
            self._attention = [
                (self._per_picture(operation.y, operation), self._per_picture(gradient, operation))
                for (operation, _), gradient in zip(found, pulled, strict=True)
                if gradient is not None
            ]
            self._gradients[ATTENTION] = None
        self._count(ATTENTION, known)
        return self._attention

    def _per_picture(self, values: Tensor, softmax: Operation) -> Tensor:
        return per_picture(values, softmax, len(self.pixels))

    def _pull(
        self, sources: Sequence[GradientEdge], rules: Rules, ledger: Ledger | None = None
    ) -> Sequence[Tensor | None]:
        score = self._score.sum()
        if not score.requires_grad or not sources:
            return []
        try:
            return self.tape.pull(score, sources, rules, ledger)
        except CheckpointError:
            raise SeewhyError(
                f"{self.model.name} runs its layers under activation checkpointing, into which "
                "nothing can be read; turn it off for the explanation"
            ) from None

    def _count(self, pull: Hashable, known: bool) -> None:
        if pull not in self._drawn:
            self._drawn.add(pull)
            self.backwards += 1
            self.shared += known

    def summed_gradient(
        self, point: Callable[[int], Tensor], weights: Float[Tensor, " points"]
    ) -> Float[Tensor, "batch channels height width"]:
        """sum_k weights[k] * gradient of the explained score at the pixels point(k).

        Points are run in as few forwards as the batch bound allows.
        """
        # In half precision small gradients would vanish between the terms.
        wide = torch.promote_types(self.pixels.dtype, torch.float32)
        total = torch.zeros_like(self.pixels, dtype=wide, requires_grad=False)
        batch = len(total)
        room = BatchSizer(self.settings, total, recorded=True)
        full = self.settings.precision == "full"
        variants = self.variants() if full else InstrumentedRunner(self)
        done = 0
        while done < len(weights):
            numbers = range(done, min(done + max(1, room.together // batch), len(weights)))
            forwards = self.forwards
            try:
                pixels = torch.cat([point(k) for k in numbers]).detach().requires_grad_()
                score = self.asked.of(variants.outputs(variants.prepared(pixels))).sum()
                (gradient,) = torch.autograd.grad(score, pixels)
            except Exception as error:
                if len(numbers) == 1 or not room.shrink(error):
                    raise
                self.forwards = forwards  # the backward may have failed alone
                continue
            weight = weights[done : numbers.stop].to(total)
            terms = gradient.to(wide).unflatten(0, (len(numbers), batch))
            total += torch.einsum("k,k...->...", weight, terms)
            self.backwards += len(numbers)
            done = numbers.stop
            if self.settings.progress:
                self.settings.progress(done, len(weights))
        if room.note:
            self.notes.append(room.note)
        return total

    def logits_of(self, pixels: Tensor) -> Float[Tensor, "others classes"]:
        """Logits of other pixels, without gradients."""
        with torch.no_grad():
            return self._forward(pixels).float()

    def scores_of(self, pixels: Tensor) -> Float[Tensor, " others"]:
        """The explained score of other pixels, without gradients; of one batch or several."""
        with torch.no_grad():
            return self.asked.of(self.run(pixels)).float()

    def run(
        self,
        pixels: Tensor,
        watched: AbstractContextManager = _UNWATCHED,
        places: Collection[Address] = (),
    ) -> Outputs:
        """A forward, with the activations at `places` and those that are asked about kept."""
        kept = self.watched.union(places)
        layer_graph = self.model.layer_graph(pixels) if kept else None
        found: dict[Address, Tensor] = {}
        watchers = watching(kept, layer_graph, found, self.tape.paused) if layer_graph else {}
        with hooked(self.model.net, watchers):
            return Outputs(self._forward(pixels, watched), found, layer_graph)

    def _from_the_input(self, at: str) -> bool:
        """Whether a gradient there needs the whole graph.

        A layer that hands on its own input cannot begin a graph: its output has another name.
        """
        if at in _NO_LAYER or self.layer_graph is None:
            return True
        layer = self.layer_graph.layer(self._places[at].layer)
        in_place = getattr(self.model.net.get_submodule(layer.name), "inplace", False)
        return layer.passive or in_place

    def _forward(self, pixels: Tensor, watched: AbstractContextManager = _UNWATCHED) -> Tensor:
        fast = self.settings.precision == "fast"
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=fast):
            logits = self.model.forward(pixels, watched)
        self.forwards += len(pixels) / len(self.pixels)  # not if it failed
        return logits

    def _tape(self, requests: Sequence[Request]) -> Tape:
        kinds = {kind for r in requests if r.rules is not None for kind in r.rules.by_kind}
        logged = any(r.at == ATTENTION for r in requests)
        named = self.model.net.named_parameters(remove_duplicate=False)
        return Tape(
            kinds | ({"softmax"} if logged else set()),
            self.pixels,
            {id(parameter): name.rpartition(".")[0] for name, parameter in named},
            {"softmax": self._softmaxes} if logged else {},
            {kind for r in requests if r.rules is not None for kind in r.rules.reads_input},
        )

    def _visitor(self, layer: str) -> Callable[[Tensor, int], Tensor | None]:
        wanted = {at: address for at, address in self._places.items() if address.layer == layer}
        pulled = {at for at, _ in self._pulled}
        assert self.layer_graph is not None
        gates = {self.layer_graph.call(gate): gate for gate in self._gates if gate.layer == layer}
        calls = {at: self.layer_graph.call(address) for at, address in wanted.items()}
        for address in wanted.values():
            self.layer_graph.index(address)  # a channel that does not exist is refused here
            if address.position:
                raise SeewhyError(f"{address}: a map needs every row and column; leave @ out")

        def hook(tensor: Tensor, call: int) -> Tensor | None:
            made = made_by(tensor)
            if call in gates and tensor.requires_grad:
                tensor.register_hook(self._restriction(gates[call], tensor.shape, made))
            here = [at for at in wanted if calls[at] == call]
            if not here:
                return None
            self._made.update(dict.fromkeys(here, made))
            if isinstance(made, Linear):
                made.read = True
            # A copy is kept: what follows in the network may write into the tensor.
            self._values.update(dict.fromkeys(here, tensor.detach().clone()))
            if tensor.requires_grad:
                self._sources.update(dict.fromkeys(here, get_gradient_edge(tensor)))
                return None
            if not pulled.intersection(here):
                return None
            start = tensor.detach().requires_grad_()  # the graph begins here
            self._sources.update(dict.fromkeys(here, get_gradient_edge(start)))
            begun = start.clone()
            stands_for(begun, tensor)
            if call in gates:
                begun.register_hook(self._restriction(gates[call], tensor.shape, made))
            return begun

        def unwatched(tensor: Tensor, call: int) -> Tensor | None:
            with self.tape.paused():
                return hook(tensor, call)

        return unwatched

    def _restriction(
        self, gate: Address, shape: torch.Size, made: Operation | None
    ) -> Callable[[Tensor], Tensor | None]:
        """A hook that lets cotangents pass only at the channels that a pull goes through.

        The graph keeps it, so it does not keep the recording, which would hold both in a circle.
        """
        tape, layer_graph = self.tape, self.layer_graph
        assert layer_graph is not None

        def restrict(cotangent: Tensor) -> Tensor | None:
            here = [one for one in tape.ledger.through if place_of(one) == gate]
            if not here:
                return None
            mask = torch.zeros(shape, dtype=cotangent.dtype, device=cotangent.device)
            for one in here:
                _open(mask, one, layer_graph)
            restricted = cotangent * mask
            if isinstance(made, Linear):
                made.restrict(mask, cotangent, restricted)
            return restricted

        return restrict


def place_of(channels: str | tuple[str, ...]) -> Address:
    """The layer, and the call of it, that channels lie in."""
    address = Address.parse(channels if isinstance(channels, str) else channels[0])
    return dataclasses.replace(address, channel=None, position=None)


def _open(mask: Tensor, one: str | tuple[str, ...], layer_graph: LayerGraph) -> None:
    """Set the mask to 1 at the channel, or at each picture's own."""
    if isinstance(one, str):
        mask[layer_graph.index(Address.parse(one))] = 1
        return
    for picture, at in enumerate(one):
        first, *rest = layer_graph.index(Address.parse(at))
        mask[picture][(first, *rest) if first is ... else tuple(rest)] = 1


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
        yield Recording(model, pixels, requests, settings, asked)
