"""What guided backpropagation and deconvnet share: they are nothing without rectifiers."""

from dataclasses import dataclass

from seewhy.attribution.gradient import PulledBack
from seewhy.attribution.method import Attribution
from seewhy.errors import NotApplicable
from seewhy.layers import compiled
from seewhy.recording import Recording


@dataclass(frozen=True)
class Rectified(PulledBack):
    """A pull-back that changes rectifiers only, and says so where a network has none."""

    def attribute(self, recording: Recording) -> Attribution:
        """The pulled-back logit; not applicable if no rectifier was met."""
        if any(compiled(module) for module in recording.model.net.modules()):
            raise NotApplicable(
                f"{self.name} changes how rectifiers are passed, and those of "
                f"{recording.model.name} run inside TorchScript, where they cannot be seen"
            )
        if not recording.tape.seen["relu"]:
            raise NotApplicable(
                f"{self.name} changes how rectifiers are passed, and {recording.model.name} has "
                "no ReLU, so the map would be the plain gradient"
            )
        return super().attribute(recording)
