"""Layer-wise relevance propagation: how is the score distributed, layer by layer, to the pixels?

Every operation distributes the relevance of its output over its inputs, in proportion to their
contributions; the composite selects the rules (seewhy.autodiff.rules.linear and .composites). The
relevance of the pixels plus that of biases and other constants is the score; the deviation from
that is the residual. A batch normalisation is folded into the convolution before it.

Sebastian Bach et al.: On Pixel-Wise Explanations, 2015, PLOS ONE 10(7) e0130140; Gregoire
Montavon et al.: Layer-Wise Relevance Propagation: An Overview, 2019; Maximilian Kohlbrenner et
al. 2020, arXiv 1910.09840 (composites); Reduan Achtibat et al.: AttnLRP, 2024, arXiv 2402.05602
(attention, normalisations, smooth activations); concept-conditional relevance (`through`):
Reduan Achtibat et al. 2023, arXiv 2206.03208.

It misleads where biases keep most of the score, which `constants` says and the residual does not.
With `biases="ignore"` they keep only what comes from outputs that read nothing but zeros; in deep
networks denominators without biases may come so close to zero that the map is refused, under z+
(lrp-epsilon-plus) least. Epsilon alone is close to input times gradient and as noisy; alpha-beta
and z+ tend to look the same for every class in deep networks (Sixt et al. 2020, arXiv 1912.09818).

    seewhy.explain(model, "dog.jpg", "lrp", composite="epsilon-gamma-box", gamma=0.1)
    seewhy.explain(model, "dog.jpg", "lrp-epsilon", layer="layer3")
    seewhy.explain(model, "dog.jpg", "lrp-epsilon-plus", through=("layer3:17", "layer3:40"))

The six names such as `lrp-epsilon-plus` are `lrp` with that composite. A custom composite:

    from seewhy.autodiff.rules.composites import always, composite, reads_picture
    from seewhy.autodiff.rules.linear import epsilon, flat

    choices = [(reads_picture, flat()), (always, epsilon(0.01))]
    seewhy.add_composite("mine", composite("mine", choices))
    seewhy.explain(model, "dog.jpg", "lrp", composite="mine")
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check, check_choice
from seewhy.attribution.methods.residual import balance
from seewhy.autodiff.rules import Rules
from seewhy.autodiff.rules.biases import without_biases
from seewhy.autodiff.rules.composites import rules_of
from seewhy.engine.recording import INPUT, Recording, Request
from seewhy.errors import NotApplicable
from seewhy.models.addresses import Address
from seewhy.models.layers import compiled
from seewhy.models.model import Model


@dataclass(frozen=True)
class Relevance(Method):
    """The base class of LRP methods: relevance propagated layer by layer under a composite.

    - `epsilon`: keeps denominators away from zero; None: as the composite has it, 1e-6.
    - `layer`: where to stop; None: at the pixels.
    - `through`: channels such as "layer3:17" that all relevance has to pass; None: no condition.
    - `biases`: keep: they keep their share of the score; ignore: what was read gets it instead.
    """

    source = "Bach et al. 2015, PLOS ONE 10(7) e0130140"
    preset: ClassVar[str] = ""

    epsilon: float | None = None
    layer: str | None = None
    through: tuple[str, ...] | None = None  # a single one also as a word
    biases: str = "keep"

    def __post_init__(self) -> None:
        if isinstance(self.through, str):
            object.__setattr__(self, "through", (self.through,))
        epsilon = self.epsilon
        check(
            epsilon is None or epsilon > 0, f"{self.name}: epsilon must be above 0, not {epsilon}"
        )
        for at in self.through or ():
            check(
                Address.parse(at).channel is not None,
                f"{self.name}: through must name channels, such as {at}:17, not {at}",
            )
        check_choice("choice of biases", self.biases, ("keep", "ignore"))
        self.rules()  # refuses what the composite does not take

    def rules(self) -> Rules:
        """The rules; the same object for the same parameters."""
        return self.composed() if self.biases == "keep" else without_biases(self.composed())

    def composed(self) -> Rules:
        """The composite, with biases."""
        return rules_of(self.preset, epsilon=self.epsilon)

    @property
    def signed(self) -> bool:
        """True: contributions have a sign."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the relevance of the pixels or the layer."""
        if any(compiled(module) for module in model.net.modules()):
            raise NotApplicable(
                f"{self.name} must record every operation, and those of {model.name} run inside "
                "TorchScript, where they cannot be recorded"
            )
        return [Request(self.layer or INPUT, self.rules(), self.through or ())]

    def attribute(self, recording: Recording) -> Attribution:
        """The relevance, and at the pixels what constants keep and what is missing."""
        at, rules = self.layer or INPUT, self.rules()
        relevance, ledger = recording.relevance(at, rules, self.through or ())
        if not recording.forward.tape.seen["linear"] and not self.layer:
            raise NotApplicable(
                f"{self.name} has rules for convolutions and linear layers, and none were recorded "
                f"in {recording.model.name}"
            )
        values = recording.maps(at, relevance).float()
        if self.layer or self.through:
            return Attribution(values, values.sum(1), self.layer)
        missing, share = balance(recording, relevance.flatten(1).sum(1), ledger, rules)
        if self.biases == "ignore" and not bool((missing <= 1).all()):
            raise NotApplicable(
                f"without biases, outputs of {recording.model.name} that are little but bias "
                f"divide by almost nothing, and the relevance by {self.name} overflows or is lost "
                "in rounding; a larger epsilon damps them, and lrp-epsilon-plus has hardly any"
            )
        return Attribution(values, values.sum(1), residual=missing, constants=share)


@dataclass(frozen=True)
class LRP(Relevance):
    """Relevance propagated layer by layer, under the named composite.

    - `composite`: epsilon, epsilon-plus, epsilon-plus-flat, epsilon-alpha2-beta1,
      epsilon-alpha2-beta1-flat, epsilon-gamma-box, or one added with `add_composite`.
    - `gamma`: how much contributions of the output's own sign are favoured, in composites that
      have it; None: the composite's value.
    """

    name = "lrp"
    question = "How is the score distributed, layer by layer, to the pixels?"
    in_sweeps = False  # "all" and "quick" include the six named methods instead

    composite: str = "epsilon-plus"
    gamma: float | None = None

    def composed(self) -> Rules:
        """The composite of this name."""
        check(self.gamma is None or self.gamma >= 0, f"{self.name}: gamma must not be negative")
        return rules_of(self.composite, epsilon=self.epsilon, gamma=self.gamma)


@dataclass(frozen=True)
class LRPEpsilon(Relevance):
    """Relevance in proportion to contributions, in all layers."""

    name = "lrp-epsilon"
    question = "How is the score distributed to pixels by their contributions?"
    preset = "epsilon"


@dataclass(frozen=True)
class LRPEpsilonPlus(Relevance):
    """Positive contributions in convolutions, all contributions in linear layers."""

    name = "lrp-epsilon-plus"
    question = "How is the score distributed over what contributes to it?"
    source = "Kohlbrenner et al. 2020, arXiv 1910.09840"
    preset = "epsilon-plus"


@dataclass(frozen=True)
class LRPEpsilonPlusFlat(Relevance):
    """Like lrp-epsilon-plus, with relevance spread evenly over the first layer's windows."""

    name = "lrp-epsilon-plus-flat"
    question = "Which regions does the score come from, regardless of colour?"
    source = "Kohlbrenner et al. 2020, arXiv 1910.09840"
    preset = "epsilon-plus-flat"


@dataclass(frozen=True)
class LRPEpsilonAlpha2Beta1(Relevance):
    """Twice the positive contributions minus the negative ones, in convolutions."""

    name = "lrp-epsilon-alpha2-beta1"
    question = "What increases the score, and what decreases it?"
    source = "Kohlbrenner et al. 2020, arXiv 1910.09840"
    preset = "epsilon-alpha2-beta1"


@dataclass(frozen=True)
class LRPEpsilonAlpha2Beta1Flat(Relevance):
    """Like lrp-epsilon-alpha2-beta1, spread evenly over the windows of the first layer."""

    name = "lrp-epsilon-alpha2-beta1-flat"
    question = "Which regions increase the score, and which decrease it?"
    source = "Kohlbrenner et al. 2020, arXiv 1910.09840"
    preset = "epsilon-alpha2-beta1-flat"


@dataclass(frozen=True)
class LRPEpsilonGammaBox(Relevance):
    """Favours contributions of the output's sign in convolutions; bounds pixels by black and white.

    - `gamma`: how much they are favoured; None: 0.25.
    """

    name = "lrp-epsilon-gamma-box"
    question = "How is the score distributed, if pixels range from black to white?"
    source = "Montavon et al. 2019, Layer-Wise Relevance Propagation: An Overview"
    preset = "epsilon-gamma-box"

    gamma: float | None = None

    def composed(self) -> Rules:
        """The composite with this gamma."""
        check(self.gamma is None or self.gamma >= 0, f"{self.name}: gamma must not be negative")
        return rules_of(self.preset, epsilon=self.epsilon, gamma=self.gamma)
