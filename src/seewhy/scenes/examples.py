"""Example scenes: seeded, of distinct classes, none with the mark."""

from seewhy.errors import SeewhyError
from seewhy.scenes.factors import Factors
from seewhy.scenes.sampling import sample

# (class, seed): hand-picked bright rooms; the sampled class is replaced by the given one.
GALLERY = (
    ("mug", 40),
    ("star", 338),
    ("bottle", 468),
    ("heart", 479),
    ("moon", 29),
    ("ring", 651),
    ("box", 93),
    ("pyramid", 199),
    ("ball", 21),
    ("cross", 570),
)


def examples(count: int = 6) -> list[tuple[str, Factors]]:
    """Return the first `count` example scenes, each as (class name, batch of one).

    Raises SeewhyError for a `count` outside the gallery's size.
    """
    if not 1 <= count <= len(GALLERY):
        raise SeewhyError(f"the number of examples must be 1 to {len(GALLERY)}, got {count}")
    return [(name, sample(1, seed).replace(shape=name)) for name, seed in GALLERY[:count]]
