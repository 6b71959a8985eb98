"""Count the forward and backward passes that a method uses."""

from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(eq=False)
class PassCounter:
    """Counts passes per picture, as if the method ran alone for one target.

    `shared` of them had already been run, as the recorded forward pass or for another method. Of a
    recording, methods and runners change only this and the notes.
    """

    forwards: float = 1.0  # the recorded forward pass
    backwards: float = 0.0
    shared: float = 1.0
    _drawn: set[Hashable] = field(default_factory=set)

    @property
    def spent(self) -> tuple[float, float]:
        """The numbers of forward and backward passes so far."""
        return self.forwards, self.backwards

    def since(self, before: tuple[float, float]) -> tuple[float, float]:
        """Return the numbers of forward and backward passes since `spent` was `before`."""
        return self.forwards - before[0], self.backwards - before[1]

    def ran(self, forwards: float = 0.0, backwards: float = 0.0) -> None:
        """Count passes that were just run; call it afterwards, so that failures do not count."""
        self.forwards += forwards
        self.backwards += backwards

    def drew_on(self, forwards: float, backwards: float) -> None:
        """Count passes that had already been run for another target."""
        self.ran(forwards, backwards)
        self.shared += forwards + backwards

    def pulled(self, pull: Hashable, known: bool) -> None:
        """Count a backward pass, once per key; `known` tells whether it had already been run."""
        if pull not in self._drawn:
            self._drawn.add(pull)
            self.backwards += 1
            self.shared += known
