"""What methods that are nothing without rectifiers share."""

from dataclasses import dataclass

from seewhy.attribution.method import Attribution
from seewhy.attribution.methods.gradient import PulledBack
from seewhy.autodiff.operations import RECTIFIER_KINDS
from seewhy.engine.recording import Recording
from seewhy.errors import NotApplicable
from seewhy.models.layers import compiled


def require_rectifiers(recording: Recording, use: str, without: str) -> None:
    """Raise NotApplicable where no rectifier was met.

    - `use`: what the method does with them. - `without`: what would come of having none.
    """
    model = recording.model
    if any(compiled(module) for module in model.net.modules()):
        raise NotApplicable(
            f"{use}, and those of {model.name} run inside TorchScript, where they cannot be seen"
        )
    if not any(recording.forward.tape.seen[kind] for kind in RECTIFIER_KINDS):
        raise NotApplicable(f"{use}, and {model.name} has no ReLU, {without}")


@dataclass(frozen=True)
class Rectified(PulledBack):
    """A pull-back that changes rectifiers only, and says so where a network has none."""

    def attribute(self, recording: Recording) -> Attribution:
        """The pulled-back logit; not applicable if no rectifier was met."""
        require_rectifiers(
            recording,
            f"{self.name} changes how rectifiers are passed",
            "so the map would be the plain gradient",
        )
        return super().attribute(recording)
