"""One forward pass of a batch, recorded so that methods can read activations and gradients.

Only what is requested beforehand is recorded. Without a request for the input, the graph starts at
the shallowest requested layer, so Grad-CAM costs a forward pass and the backward pass of the head.
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

    - `pixels`: the input, [batch, channels, height, width] in [0, 1]. - `outputs`, `logits`: the
      output. - `scores`: for each question, the explained score of each picture.
    - `values`: the raw output of each requested layer. - `sources`: the edge of each in the
      autograd graph. - `made`: the operation that computed each. - `gates`: the layers at which a
      backward pass may be restricted to some channels, in execution order.
    - `pulled`: (address, rules) of each requested gradient. - `watched`: the hidden layers that
      targets refer to.
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
        if model.mixes_pictures and len(pixels) > 1:
            raise SeewhyError(
                f"the logits of {model.name} for a picture depend on the other pictures in its "
                "batch; use a batch size of 1 (batch_size=1, or --batch-size 1)"
            )
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
        """Run a forward pass; keep the activations at `places` and those that targets refer to."""
        kept = self.watched.union(places)
        layer_graph = self.model.layer_graph(pixels) if kept else None
        activations: dict[Address, Tensor] = {}
        watchers = watching(kept, layer_graph, activations, self.tape.paused) if layer_graph else {}
        fast = torch.autocast(
            self.model.device.type, torch.bfloat16, enabled=self.precision == "fast"
        )
        with hooked(self.model.net, watchers), fast:
            return Outputs(self.model.forward(pixels, watched), activations, layer_graph)

    def activation(self, at: str) -> Tensor:
        """Return the raw output of the layer at the address."""
        if at == INPUT:
            return self.pixels.detach()
        if at not in self.values:
            raise NotApplicable(not_as_a_batch(at))
        return self.values[at]

    def maps(self, at: str, values: Tensor) -> Float[Tensor, "batch channels h w"]:
        """Return values of the activation's shape as maps; raise if the layer has no grid."""
        if at == INPUT or self.layer_graph is None:
            return values.float()
        address = self.places[at]
        layer = self.layer_graph.layer(address.layer)
        if layer.grid is None:
            raise SeewhyError(
                f"the output of {layer.name}, of shape {layer.shape}, has no rows and columns; "
                f"the deepest layer that has them is {self.layer_graph.spatial}"
            )
        if len(values) != len(self.pixels):
            raise NotApplicable(not_as_a_batch(at))
        maps = layer.grid.maps(values).float()
        return maps if address.channel is None else maps[:, address.channel, None]

    @property
    def inference(self) -> Inference:
        """The network prepared for fast inference; created once."""
        if self._inference is None:
            self._inference = prepare(self.model, self.pixels, self.precision)
        return self._inference

    def _from_the_input(self, at: str) -> bool:
        """Return whether a gradient at the address needs a graph that starts at the pixels.

        A layer that returns its own input tensor cannot start a graph: later operations may read
        that tensor directly.
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
            compares=any(r.rules is not None and r.rules.compares for r in requests),
        )

    def _hook(self, layer: str) -> OutputHook:
        wanted = {at: address for at, address in self.places.items() if address.layer == layer}
        pulled = {at for at, _ in self.pulled}
        assert self.layer_graph is not None
        gates = {self.layer_graph.call(gate): gate for gate in self._gates if gate.layer == layer}
        calls = {at: self.layer_graph.call(address) for at, address in wanted.items()}
        for address in wanted.values():
            self.layer_graph.index(address)  # raises if the channel does not exist
            if address.position:
                raise SeewhyError(f"{address}: a map needs all rows and columns; leave @ out")

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
            # A copy, because later operations of the network may overwrite the tensor.
            self.values.update(dict.fromkeys(here, tensor.detach().clone()))
            if tensor.requires_grad:
                self.sources.update(dict.fromkeys(here, get_gradient_edge(tensor)))
                return None
            if not pulled.intersection(here):
                return None
            start = tensor.detach().requires_grad_()  # the graph starts here
            self.tape.begin(start)
            self.sources.update(dict.fromkeys(here, get_gradient_edge(start)))
            output = start.clone()
            stands_for(output, tensor)
            if call in gates:
                self.gates[gates[call]] = Gate(get_gradient_edge(output), tensor.shape, made)
            return output

        def unwatched(tensor: Tensor, call: int) -> Tensor | None:
            with self.tape.paused():
                return hook(tensor, call)

        return unwatched
