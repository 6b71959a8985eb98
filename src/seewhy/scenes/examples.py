"""A few scenes to show: seeded, of distinct classes, none with the mark."""

from seewhy.errors import SeewhyError
from seewhy.scenes.factors import CLASSES, Factors
from seewhy.scenes.sampling import sample

# (name, class, seed): scenes chosen by eye among the first few hundred seeds.
GALLERY = (
    ("mug", "mug", 1),
    ("star", "star", 2),
    ("bottle", "bottle", 3),
    ("heart", "heart", 4),
    ("moon", "moon", 5),
    ("box", "box", 6),
    ("ring", "ring", 7),
    ("pyramid", "pyramid", 8),
    ("ball", "ball", 9),
    ("cross", "cross", 10),
)


def examples(count: int = 6) -> list[tuple[str, Factors]]:
    """The first `count` scenes of the gallery, each a name and a batch of one."""
    if not 1 <= count <= len(GALLERY):
        raise SeewhyError(f"examples expected 1 to {len(GALLERY)} scenes, got {count}")
    return [(name, sample(1, seed).replace(shape=cls)) for name, cls, seed in GALLERY[:count]]


assert len({cls for _, cls, _ in GALLERY}) == len(CLASSES)
