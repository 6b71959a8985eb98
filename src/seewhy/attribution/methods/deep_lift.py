"""DeepLIFT: what did each pixel contribute to the score's rise above that of a reference picture?

    (x - x0) * m,    m the multipliers of the score (seewhy.autodiff.rules.rescale)

One forward of the pictures, one of the reference and one backward. The contributions add up to
f(x) - f(x0); what is missing from that is the residual, which is rounding unless the network does
something the rules do not know. At a layer, the same with its activations.

Avanti Shrikumar, Peyton Greenside, Anshul Kundaje: Learning Important Features Through
Propagating Activation Differences, 2017, arXiv 1704.02685. The paper gives the rule for functions
of one number; those for products, quotients, softmax, norms and maximum pools are exact finite
differences too (rules/rescale.py), so the sum also holds for transformers.

It misleads where the reference is no neutral picture: all it says is about the difference. Two
networks that compute the same may get different maps, as with every rule for single operations
(Sundararajan et al. 2017, arXiv 1703.01365).

    seewhy.explain(model, "dog.jpg", "deep-lift", baseline="blur")
    seewhy.explain(model, "dog.jpg", "deep-lift", layer="layer3")
"""

from dataclasses import dataclass

from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.autodiff.rules.rescale import RESCALE
from seewhy.engine.recording import INPUT, Recording, Request
from seewhy.errors import NotApplicable
from seewhy.models.layers import compiled
from seewhy.models.model import Model
from seewhy.perturbation.baselines import baseline, check_baseline


@dataclass(frozen=True)
class DeepLift(Method):
    """Contributions to the score's rise above that of a reference picture.

    - `baseline`: the reference: mean, black, grey, white, blur or noise.
    - `layer`: where to compare; None: at the pixels.
    """

    name = "deep-lift"
    question = "What did each pixel add to the score's rise above a reference?"
    source = "Shrikumar, Greenside, Kundaje 2017, arXiv 1704.02685"

    baseline: str = "mean"
    layer: str | None = None

    def __post_init__(self) -> None:
        check_baseline(self.baseline)

    @property
    def signed(self) -> bool:
        """Always."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """The multipliers; the graph begins at the pixels, as it does for the reference."""
        if any(compiled(module) for module in model.net.modules()):
            raise NotApplicable(
                f"{self.name} has a rule for each operation, and those of {model.name} run inside "
                "TorchScript, where they cannot be seen"
            )
        at_layer = [Request(self.layer, None)] if self.layer else []
        return [Request(INPUT, RESCALE), *at_layer]

    def attribute(self, recording: Recording) -> Attribution:
        """Difference times multipliers, and at the pixels what is missing from the rise."""
        at = self.layer or INPUT
        pixels = recording.pixels.detach()
        start = baseline(self.baseline, recording.model, pixels)
        if bool((start == start[:1]).all()):
            start = start[:1]  # one reference for all pictures
        difference, multipliers, rise = recording.differences(start, at, RESCALE)
        contributions = difference * multipliers
        values = recording.maps(at, contributions)
        if self.layer:
            return Attribution(values, values.sum(1), self.layer)
        missing = (contributions.flatten(1).sum(1) - rise).abs() / rise.abs().clamp_min(1e-12)
        return Attribution(values, values.sum(1), residual=missing.float())
