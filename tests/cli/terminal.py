"""What a command leaves behind."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seewhy.support.manifest import LOCK, NAME


@dataclass(frozen=True)
class Result:
    """What a command left behind; `lines` are those on standard error."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()

    def refused(self, *words: str) -> None:
        """Status 2, nothing on standard output, and one line that says each of `words`."""
        assert self.status == 2, self
        assert self.out == ""
        assert len(self.lines) == 1, self.err
        assert self.lines[0].startswith("seewhy: ")
        for word in words:
            assert word in self.lines[0]

    def fine(self) -> str:
        """Status 0, and nothing on standard error; gives back standard output."""
        assert (self.status, self.err) == (0, ""), self
        return self.out


Seewhy = Callable[[str], Result]


def files_in(folder: Path) -> list[str]:
    """Every file below the folder, hidden ones too, but for manifests and their locks."""
    found = (file for file in folder.rglob("*") if file.is_file() and file.name not in (NAME, LOCK))
    return sorted(str(file.relative_to(folder)) for file in found)
