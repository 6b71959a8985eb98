"""DeepLIFT: how much does each pixel contribute to the score's change from a reference?

    (x - x0) * m,    m the multipliers of the score (seewhy.autodiff.rules.rescale)

One forward pass of the pictures, one of the reference and one backward pass. The contributions add
up to f(x) - f(x0); the difference is the residual, which is rounding unless the network uses
operations without a rule. At a layer, x and x0 are its activations.

Avanti Shrikumar, Peyton Greenside, Anshul Kundaje: Learning Important Features Through
Propagating Activation Differences, 2017, arXiv 1704.02685. The paper gives the rule for elementwise
functions; those for products, quotients, softmax, norms and max pooling are exact finite
differences too (rules/rescale.py), so the sum also holds for transformers.

It misleads where the reference is not a neutral picture: the map explains only the difference from
it. Two networks that compute the same function may get different maps, as with every method that
has rules for single operations (Sundararajan et al. 2017, arXiv 1703.01365).

    seewhy.explain(model, "dog.jpg", "deep-lift", baseline="blur")
    seewhy.explain(model, "dog.jpg", "deep-lift", layer="layer3")
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.autodiff.decisions import equal
from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.rules import Rules
from seewhy.autodiff.rules.rescale import OTHER_OPERATIONS, RESCALE, beside
from seewhy.autodiff.tape import Logged, Tape
from seewhy.engine.recording import INPUT, Recording, Request
from seewhy.errors import NotApplicable
from seewhy.models.layers import compiled
from seewhy.models.model import Model
from seewhy.perturbation.baselines import baseline, check_baseline
from seewhy.targets.scores import Outputs


@dataclass(frozen=True)
class DeepLift(Method):
    """Contributions to the difference in score between the picture and a reference.

    - `baseline`: the reference: mean, black, grey, white, blur or noise.
    - `layer`: the layer that is attributed to; None: the pixels.
    """

    name = "deep-lift"
    question = "How does each pixel contribute to the change from a reference?"
    source = "Shrikumar, Greenside, Kundaje 2017, arXiv 1704.02685"

    baseline: str = "mean"
    layer: str | None = None

    def __post_init__(self) -> None:
        check_baseline(self.baseline)

    @property
    def signed(self) -> bool:
        """True: contributions have a sign."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the multipliers, with a graph from the pixels on, as for the reference."""
        if any(compiled(module) for module in model.net.modules()):
            raise NotApplicable(
                f"{self.name} must record every operation, and those of {model.name} run inside "
                "TorchScript, where they cannot be recorded"
            )
        at_layer = [Request(self.layer, None)] if self.layer else []
        return [Request(INPUT, RESCALE), *at_layer]

    def attribute(self, recording: Recording) -> Attribution:
        """Return the difference times the multipliers; at the pixels with the residual."""
        at = self.layer or INPUT
        pixels = recording.pixels.detach()
        start = baseline(self.baseline, recording.model, pixels)
        if bool((start == start[:1]).all()):
            start = start[:1]  # one reference for all pictures
        difference, multipliers, rise = differences(recording, start, at, RESCALE)
        contributions = difference * multipliers
        values = recording.maps(at, contributions)
        if self.layer:
            return Attribution(values, values.sum(1), self.layer)
        missing = (contributions.flatten(1).sum(1) - rise).abs() / rise.abs().clamp_min(1e-12)
        return Attribution(values, values.sum(1), residual=missing.float())


def differences(
    recording: Recording, start: Tensor, at: str, rules: Rules
) -> tuple[Tensor, Tensor, Float[Tensor, " batch"]]:
    """Compare the pictures with the references `start`, under rules that compare two passes.

    `start` is a batch of references or a single one, [1, channels, height, width]. Returns the
    difference of the activations at `at`, the multipliers there, both in raw shape, and the
    difference of the explained scores. The graph must begin at the pixels.
    """
    forward = recording.forward
    log: dict[str, list[Logged]] = {kind: [] for kind in rules.by_kind}
    pixels = start.detach().to(forward.pixels).requires_grad_()
    places = set() if at == INPUT else {forward.places[at]}
    tape = Tape(log, pixels, log=log, reads_input=rules.reads_input, compares=rules.compares)
    outputs = recording.run(pixels, tape, places=places)
    if any(tape.seen[kind] != forward.tape.seen[kind] for kind in log):
        raise NotApplicable(OTHER_OPERATIONS)
    jump = forward.tape.decisions.first_difference(
        tape.decisions, lambda there, here: equal(beside(there, here), here)
    )
    if jump:
        raise NotApplicable(_jumps(jump))
    operations = {(op.kind, op.number): op for ops in log.values() for op, _ in ops}
    ledger = Ledger(pictures=len(forward.pixels), reference=operations)
    multipliers = recording.pulls.pull_to(at, rules, ledger)
    recording.cost.ran(backwards=1)
    x = recording.activation(at)
    x0 = pixels if at == INPUT else outputs.activations[forward.places[at]]
    return x - beside(x0.detach(), x), multipliers, _rise(recording, outputs)


def _jumps(name: str) -> str:
    return (
        f"torch's {name} depends on a comparison, a selection or a detached tensor that differs "
        "between the reference and the pictures, and what such a jump adds belongs to no input; "
        "another baseline may avoid it, and integrated-gradients needs no rules"
    )


def _rise(recording: Recording, reference: Outputs) -> Float[Tensor, " batch"]:
    """Return the explained scores minus those of another pass, in the network's precision."""
    outputs = recording.forward.outputs
    activations = {
        address: beside(reference.activations[address], a)
        for address, a in outputs.activations.items()
    }
    score = recording.asked.of(
        Outputs(beside(reference.logits, outputs.logits), activations, outputs.layer_graph)
    )
    return (recording.pulls.explained - score).detach()
