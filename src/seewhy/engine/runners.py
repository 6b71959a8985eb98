"""Run the network on variants of the recorded pictures, unmodified or in its fastest form."""

from abc import ABC, abstractmethod

from torch import Tensor

from seewhy.engine.cost import PassCounter
from seewhy.engine.forward import Forward
from seewhy.targets.scores import Outputs


class Runner(ABC):
    """Runs the network on variants of the recorded pictures.

    `prepared` is affine, so pictures can be prepared first and blended afterwards.
    """

    def __init__(self, forward: Forward, cost: PassCounter):
        self.forward, self.cost = forward, cost

    @abstractmethod
    def prepared(self, pixels: Tensor) -> Tensor:
        """Return pixels in [0, 1] as `outputs` expects them."""

    @abstractmethod
    def outputs(self, prepared: Tensor) -> Outputs:
        """Return the outputs of the network; differentiable if gradients are enabled."""


class InstrumentedRunner(Runner):
    """Runs the unmodified network, for targets in hidden layers and for edited models."""

    def prepared(self, pixels: Tensor) -> Tensor:
        """Return the pixels with the dtype and device of the recorded ones."""
        return pixels.to(self.forward.pixels)

    def outputs(self, prepared: Tensor) -> Outputs:
        """Return the logits and the activations that targets refer to."""
        outputs = self.forward.run(prepared)
        self.cost.ran(forwards=len(prepared) / len(self.forward.pixels))
        return outputs


class FastRunner(Runner):
    """Runs the network prepared for fast inference."""

    def prepared(self, pixels: Tensor) -> Tensor:
        """Return the normalised pixels."""
        return self.forward.inference.normalised(pixels)

    def outputs(self, prepared: Tensor) -> Outputs:
        """Return the logits, without activations."""
        logits = self.forward.inference.logits(prepared)
        self.cost.ran(forwards=len(prepared) / len(self.forward.pixels))
        return Outputs(logits, {}, None)
