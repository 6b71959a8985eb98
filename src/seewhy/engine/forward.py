"""One forward pass of a batch, recorded so that much can be read from it.

What will be read is requested beforehand, and just that is recorded. If nobody reads the input, no
graph is built before the shallowest layer that somebody reads, so Grad-CAM costs a forward and the
backward of the head.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.tape import Logged, Tape, made_by, stands_for
from seewhy.engine.gates import Gate
from seewhy.engine.inference import Inference, prepare
from seewhy.engine.requests import ATTENTION, INPUT, NO_LAYER, Request, place_of
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.models.addresses import Address
from seewhy.models.edits import not_as_a_batch
from seewhy.models.hooks import OutputHook, hooked
from seewhy.models.model import Model
from seewhy.targets.questions import hidden_of
from seewhy.targets.scores import Outputs, Score, resolve, watching
from seewhy.targets.terms import Target

_UNWATCHED = nullcontext()


class Forward:
    """A recorded forward pass.

    - `pixels`: what went in, [batch, channels, height, width] in [0, 1]. - `outputs`, `logits`:
      what came out. - `scores`: the explained number of each picture, for each question.
    - `values`: the raw output at each requested place. - `sources`: where in the autograd graph
      those places are. - `made`: the operations that put them out. - `gates`: the layers that a
      pull may be asked to pass at named channels only, in the order in which they ran.
    - `pulled`: (place, rules) of each gradient that was requested. - `watched`: hidden layers that
      are asked about.
    """

    def __init__(
        self,
        model: Model,
        pixels: Tensor,
        requests: Sequence[Request],
        questions: Sequence[Sequence[Target]],
        precision: str,
    ):
        self.model, self.precision = model, precision
        self.places = {r.at: Address.parse(r.at) for r in requests if r.at not in NO_LAYER}
        self.pulled = {(r.at, r.rules) for r in requests if r.rules is not None}
        self.watched = {hidden.place for asked in questions for hidden in hidden_of(asked)}
        self.values: dict[str, Tensor] = {}
        self.sources: dict[str, GradientEdge] = {}
        self.made: dict[str, Operation | None] = {}
        self.softmaxes: list[Logged] = []
        self.gates: dict[Address, Gate] = {}
        self._gates = {place_of(p) for r in requests for p in r.through}
        self._inference: Inference | None = None
        model.choose_memory_format(pixels)
        self.layer_graph = model.layer_graph(pixels) if self.places or self._gates else None
        self.pixels = pixels.detach().to(model.device, model.dtype, copy=True)
        self.pixels.requires_grad_(any(self._from_the_input(at) for at, _ in self.pulled))
        if self.pixels.requires_grad:
            self.sources[INPUT] = get_gradient_edge(self.pixels)
        self.tape = self._tape(requests)
        hooks = {a.layer: self._hook(a.layer) for a in [*self.places.values(), *self._gates]}
        with hooked(model.net, hooks):
            self.outputs = self.run(self.pixels, self.tape)
        self.logits: Float[Tensor, "batch classes"] = self.outputs.logits.detach().float()
        self.scores: list[Score] = [resolve(asked, self.logits, model) for asked in questions]

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
        fast = torch.autocast(
            self.model.device.type, torch.bfloat16, enabled=self.precision == "fast"
        )
        with hooked(self.model.net, watchers), fast:
            return Outputs(self.model.forward(pixels, watched), found, layer_graph)

    def activation(self, at: str) -> Tensor:
        """The raw output of the layer at the address."""
        if at == INPUT:
            return self.pixels.detach()
        if at not in self.values:
            raise NotApplicable(not_as_a_batch(at))
        return self.values[at]

    def maps(self, at: str, values: Tensor) -> Float[Tensor, "batch channels h w"]:
        """Values of the activation's shape as maps; raises where there is no grid."""
        if at == INPUT or self.layer_graph is None:
            return values.float()
        address = self.places[at]
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

    @property
    def inference(self) -> Inference:
        """The network without anything that is only there to be looked at; made once."""
        if self._inference is None:
            self._inference = prepare(self.model, self.pixels, self.precision)
        return self._inference

    def _from_the_input(self, at: str) -> bool:
        """Whether a gradient there needs the whole graph.

        A layer that hands on its own input cannot begin a graph: its output has another name.
        """
        if at in NO_LAYER or self.layer_graph is None:
            return True
        layer = self.layer_graph.layer(self.places[at].layer)
        in_place = getattr(self.model.net.get_submodule(layer.name), "inplace", False)
        return layer.passive or in_place

    def _tape(self, requests: Sequence[Request]) -> Tape:
        kinds = {kind for r in requests if r.rules is not None for kind in r.rules.by_kind}
        logged = any(r.at == ATTENTION for r in requests)
        named = self.model.net.named_parameters(remove_duplicate=False)
        return Tape(
            kinds | ({"softmax"} if logged else set()),
            self.pixels,
            {id(parameter): name.rpartition(".")[0] for name, parameter in named},
            {"softmax": self.softmaxes} if logged else {},
            {kind for r in requests if r.rules is not None for kind in r.rules.reads_input},
        )

    def _hook(self, layer: str) -> OutputHook:
        wanted = {at: address for at, address in self.places.items() if address.layer == layer}
        pulled = {at for at, _ in self.pulled}
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
                self.gates[gates[call]] = Gate(get_gradient_edge(tensor), tensor.shape, made)
            here = [at for at in wanted if calls[at] == call]
            if not here:
                return None
            self.made.update(dict.fromkeys(here, made))
            if isinstance(made, Linear):
                made.read = True
            # A copy is kept: what follows in the network may write into the tensor.
            self.values.update(dict.fromkeys(here, tensor.detach().clone()))
            if tensor.requires_grad:
                self.sources.update(dict.fromkeys(here, get_gradient_edge(tensor)))
                return None
            if not pulled.intersection(here):
                return None
            start = tensor.detach().requires_grad_()  # the graph begins here
            self.tape.begin(start)
            self.sources.update(dict.fromkeys(here, get_gradient_edge(start)))
            begun = start.clone()
            stands_for(begun, tensor)
            if call in gates:
                self.gates[gates[call]] = Gate(get_gradient_edge(begun), tensor.shape, made)
            return begun

        def unwatched(tensor: Tensor, call: int) -> Tensor | None:
            with self.tape.paused():
                return hook(tensor, call)

        return unwatched
