"""The network, run on variants of the recorded pictures: as it is, or as fast as it goes."""

from abc import ABC, abstractmethod

from torch import Tensor

from seewhy.engine.cost import PassCounter
from seewhy.engine.forward import Forward
from seewhy.targets.scores import Outputs


class Runner(ABC):
    """The network, run on variants of the recorded pictures.

    `prepared` is affine, so pictures may be prepared first and blended after.
    """

    def __init__(self, forward: Forward, cost: PassCounter):
        self.forward, self.cost = forward, cost

    @abstractmethod
    def prepared(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1] as `outputs` takes them."""

    @abstractmethod
    def outputs(self, prepared: Tensor) -> Outputs:
        """What the network puts out; differentiable where gradients are on."""


class InstrumentedRunner(Runner):
    """The network as it is: hidden units are asked about, or edits are in force."""

    def prepared(self, pixels: Tensor) -> Tensor:
        """The pixels."""
        return pixels.to(self.forward.pixels)

    def outputs(self, prepared: Tensor) -> Outputs:
        """With the activations that are asked about."""
        outputs = self.forward.run(prepared)
        self.cost.ran(forwards=len(prepared) / len(self.forward.pixels))
        return outputs


class FastRunner(Runner):
    """The network as fast as it goes."""

    def prepared(self, pixels: Tensor) -> Tensor:
        """Normalised."""
        return self.forward.inference.normalised(pixels)

    def outputs(self, prepared: Tensor) -> Outputs:
        """Logits alone."""
        logits = self.forward.inference.logits(prepared)
        self.cost.ran(forwards=len(prepared) / len(self.forward.pixels))
        return Outputs(logits, {}, None)
