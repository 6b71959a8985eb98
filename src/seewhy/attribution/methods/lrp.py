"""Layer-wise relevance propagation: how is the score shared out, layer by layer, down to pixels?

Every operation hands the relevance of its output on to its inputs, in proportion to what they
contributed; the composite says by which rule (seewhy.autodiff.rules.linear and .composites). The
shares of the pixels and what biases and other constants kept add up to the score; what is missing
from that is the residual. A batch normalisation counts as part of the convolution before.

Sebastian Bach et al.: On Pixel-Wise Explanations, 2015, PLOS ONE 10(7) e0130140; Gregoire
Montavon et al.: Layer-Wise Relevance Propagation: An Overview, 2019; Maximilian Kohlbrenner et
al. 2020, arXiv 1910.09840 (composites); Reduan Achtibat et al.: AttnLRP, 2024, arXiv 2402.05602
(attention, normalisations, smooth activations); concept-conditional relevance (`through`):
Reduan Achtibat et al. 2023, arXiv 2206.03208.

It misleads where biases keep most of the score, which the residual does not show; epsilon alone
is close to input times gradient and as noisy; alpha-beta and z+ tend to look the same for every
class in deep networks (Sixt et al. 2020, arXiv 1912.09818).

    seewhy.explain(model, "dog.jpg", "lrp-epsilon-plus-flat")
    seewhy.explain(model, "dog.jpg", "lrp-epsilon", layer="layer3")
    seewhy.explain(model, "dog.jpg", "lrp-epsilon-plus", through="layer3:17,layer3:40")

A composite of your own is a subclass with a `rules`:

    @dataclass(frozen=True)
    class MyLRP(LRP):
        '''The epsilon rule, with a flat beginning.'''
        name = "my-lrp"
        question = "How is the score shared out?"
        source = "me"

        def rules(self, model):
            return composite("mine", [(reads_picture, flat()), (always, epsilon(0.01))])
"""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.autodiff.rules import Rules, composites
from seewhy.autodiff.rules.linear import STABILISER
from seewhy.engine.recording import INPUT, Recording, Request
from seewhy.errors import NotApplicable
from seewhy.models.addresses import Address
from seewhy.models.layers import compiled
from seewhy.models.model import Model


@dataclass(frozen=True)
class LRP(Method):
    """Relevance handed down layer by layer under a composite.

    - `epsilon`: keeps denominators away from zero. - `layer`: where to stop; None: at the pixels.
    - `through`: channels such as "layer3:17", with commas between several, that all relevance has
      to pass; None: no condition.
    """

    epsilon: float = STABILISER
    layer: str | None = None
    through: str | None = None

    def __post_init__(self) -> None:
        check(self.epsilon > 0, f"{self.name}: epsilon must be above 0, not {self.epsilon}")
        for at in self._through:
            check(
                Address.parse(at).channel is not None,
                f"{self.name}: through names channels, such as {at}:17",
            )

    @abstractmethod
    def rules(self, model: Model) -> Rules:
        """The composite; the same object for the same parameters."""

    @property
    def signed(self) -> bool:
        """Always."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """The relevance of the pixels or the layer."""
        if any(compiled(module) for module in model.net.modules()):
            raise NotApplicable(
                f"{self.name} has a rule for each operation, and those of {model.name} run inside "
                "TorchScript, where they cannot be seen"
            )
        return [Request(self.layer or INPUT, self.rules(model), self._through)]

    def attribute(self, recording: Recording) -> Attribution:
        """The relevance, and at the pixels what is missing from the score."""
        at = self.layer or INPUT
        relevance, ledger = recording.relevance(at, self.rules(recording.model), self._through)
        if not recording.forward.tape.seen["linear"] and not self.layer:
            raise NotApplicable(
                f"{self.name} has rules for convolutions and dense layers, and "
                f"{recording.model.name} runs none that can be seen"
            )
        values = recording.maps(at, relevance).float()
        if self.layer or self.through:
            return Attribution(values, values.sum(1), self.layer)
        kept = 0 if ledger.constants is None else ledger.constants.float()
        missing = (values.sum((1, 2, 3)) + kept - recording.score).abs()
        residual = missing / recording.score.abs().clamp_min(1e-12)
        return Attribution(values, values.sum(1), residual=residual)

    @property
    def _through(self) -> tuple[str, ...]:
        return tuple(t.strip() for t in self.through.split(",")) if self.through else ()


@dataclass(frozen=True)
class LRPEpsilon(LRP):
    """Relevance in proportion to contributions, everywhere."""

    name = "lrp-epsilon"
    question = "How is the score shared out by contribution, down to the pixels?"
    source = "Bach et al. 2015, PLOS ONE 10(7) e0130140"

    def rules(self, model: Model) -> Rules:
        """Epsilon everywhere."""
        return composites.epsilon_everywhere(self.epsilon)


@dataclass(frozen=True)
class LRPEpsilonPlus(LRP):
    """Positive contributions in convolutions, all contributions in dense layers."""

    name = "lrp-epsilon-plus"
    question = "How is the score shared out among what contributes to it?"
    source = "Kohlbrenner et al. 2020, arXiv 1910.09840"

    def rules(self, model: Model) -> Rules:
        """z+ for convolutions, epsilon for dense layers."""
        return composites.epsilon_plus(self.epsilon)


@dataclass(frozen=True)
class LRPEpsilonPlusFlat(LRP):
    """As lrp-epsilon-plus, and evenly over the pixels that the first layer reads together."""

    name = "lrp-epsilon-plus-flat"
    question = "Which regions does the score come from, whatever their colours?"
    source = "Kohlbrenner et al. 2020, arXiv 1910.09840"

    def rules(self, model: Model) -> Rules:
        """z+ for convolutions, epsilon for dense layers, flat for the first."""
        return composites.epsilon_plus_flat(self.epsilon)


@dataclass(frozen=True)
class LRPEpsilonAlpha2Beta1(LRP):
    """Twice the positive contributions less the negative ones, in convolutions."""

    name = "lrp-epsilon-alpha2-beta1"
    question = "What contributes to the score, and what holds it back?"
    source = "Kohlbrenner et al. 2020, arXiv 1910.09840"

    def rules(self, model: Model) -> Rules:
        """alpha-beta for convolutions, epsilon for dense layers."""
        return composites.epsilon_alpha2_beta1(self.epsilon)


@dataclass(frozen=True)
class LRPEpsilonAlpha2Beta1Flat(LRP):
    """As lrp-epsilon-alpha2-beta1, and evenly over the pixels that the first layer reads."""

    name = "lrp-epsilon-alpha2-beta1-flat"
    question = "Which regions contribute to the score, and which hold it back?"
    source = "Kohlbrenner et al. 2020, arXiv 1910.09840"

    def rules(self, model: Model) -> Rules:
        """alpha-beta for convolutions, epsilon for dense layers, flat for the first."""
        return composites.epsilon_alpha2_beta1_flat(self.epsilon)


@dataclass(frozen=True)
class LRPEpsilonGammaBox(LRP):
    """Contributions of the output's sign favoured in convolutions; pixels between black and white.

    - `gamma`: how much they are favoured.
    """

    name = "lrp-epsilon-gamma-box"
    question = "How is the score shared out, if pixels could be black or white?"
    source = "Montavon et al. 2019, Layer-Wise Relevance Propagation: An Overview"

    gamma: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.gamma >= 0, f"{self.name}: gamma must not be negative, got {self.gamma}")

    def rules(self, model: Model) -> Rules:
        """gamma for convolutions, epsilon for dense layers, z-box for the first."""
        return composites.epsilon_gamma_box(self.gamma, self.epsilon)
