"""The passes that one method draws on."""

from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(eq=False)
class PassCounter:
    """Passes per picture, as if the method ran alone for one question.

    `shared` of them had been run already, by the recorded forward or for another method. This is
    all of a recording that methods and runners write to, besides its notes.
    """

    forwards: float = 1.0  # the recorded one
    backwards: float = 0.0
    shared: float = 1.0
    _drawn: set[Hashable] = field(default_factory=set)

    @property
    def spent(self) -> tuple[float, float]:
        """Forwards and backwards so far."""
        return self.forwards, self.backwards

    def since(self, before: tuple[float, float]) -> tuple[float, float]:
        """Forwards and backwards since so many were spent."""
        return self.forwards - before[0], self.backwards - before[1]

    def ran(self, forwards: float = 0.0, backwards: float = 0.0) -> None:
        """Passes that were run just now; called after them, so that failures do not count."""
        self.forwards += forwards
        self.backwards += backwards

    def drew_on(self, forwards: float, backwards: float) -> None:
        """Passes that had been run for another question."""
        self.ran(forwards, backwards)
        self.shared += forwards + backwards

    def pulled(self, pull: Hashable, known: bool) -> None:
        """A backward pass; one that is asked for twice counts once."""
        if pull not in self._drawn:
            self._drawn.add(pull)
            self.backwards += 1
            self.shared += known
