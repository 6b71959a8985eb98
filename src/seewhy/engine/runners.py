"""The network, run on variants of a recording's pictures: as it is, or as fast as it goes."""

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor

from seewhy.engine.inference import Inference
from seewhy.targets.scores import Outputs


class Recorded(Protocol):
    """What a runner needs of a recording: its pictures, its network, and the count of forwards."""

    pixels: Tensor
    forwards: float

    @property
    def inference(self) -> Inference:
        """The network without anything that is only there to be looked at."""
        ...

    def run(self, pixels: Tensor) -> Outputs:
        """A forward of the network as it is, with the activations that are asked about."""
        ...


class Runner(ABC):
    """The network, run on variants of a recording's pictures.

    `prepared` is affine, so pictures may be prepared first and blended after.
    """

    def __init__(self, recording: Recorded):
        self.recording = recording

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
        return pixels.to(self.recording.pixels)

    def outputs(self, prepared: Tensor) -> Outputs:
        """With the activations that are asked about."""
        return self.recording.run(prepared)


class FastRunner(Runner):
    """The network as fast as it goes."""

    def prepared(self, pixels: Tensor) -> Tensor:
        """Normalised."""
        return self.recording.inference.normalised(pixels)

    def outputs(self, prepared: Tensor) -> Outputs:
        """Logits alone."""
        logits = self.recording.inference.logits(prepared)
        self.recording.forwards += len(prepared) / len(self.recording.pixels)  # not if it failed
        return Outputs(logits, {}, None)
