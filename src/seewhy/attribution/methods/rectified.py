"""The base class of methods that change the backward pass of ReLUs."""

from dataclasses import dataclass

from seewhy.attribution.method import Attribution
from seewhy.attribution.methods.gradient import PulledBack
from seewhy.autodiff.operations import RECTIFIER_KINDS
from seewhy.engine.recording import Recording
from seewhy.errors import NotApplicable
from seewhy.models.layers import compiled


def require_rectifiers(recording: Recording, use: str, without: str) -> None:
    """Raise NotApplicable if no ReLU was recorded.

    - `use`: what the method does with ReLUs. - `without`: the consequence of having none.
    """
    model = recording.model
    if any(compiled(module) for module in model.net.modules()):
        raise NotApplicable(
            f"{use}, and those of {model.name} run inside TorchScript, where they cannot be found"
        )
    if not any(recording.forward.tape.seen[kind] for kind in RECTIFIER_KINDS):
        raise NotApplicable(f"{use}, and {model.name} has no ReLU, {without}")


@dataclass(frozen=True)
class Rectified(PulledBack):
    """A gradient with modified ReLUs; raises NotApplicable for networks without any."""

    def attribute(self, recording: Recording) -> Attribution:
        """Return the backpropagated logit; raises NotApplicable if no ReLU was recorded."""
        require_rectifiers(
            recording,
            f"{self.name} changes the backward pass of ReLUs",
            "so the map would be the plain gradient",
        )
        return super().attribute(recording)
