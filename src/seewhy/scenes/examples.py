"""A few scenes to show: seeded, of distinct classes, none with the mark."""

from seewhy.errors import SeewhyError
from seewhy.scenes.factors import Factors
from seewhy.scenes.sampling import sample

# (class, seed): bright rooms chosen by eye; the seed's own class gives way to the one named.
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
    """The first `count` scenes of the gallery, each the name of its class and a batch of one."""
    if not 1 <= count <= len(GALLERY):
        raise SeewhyError(f"examples expected 1 to {len(GALLERY)} scenes, got {count}")
    return [(name, sample(1, seed).replace(shape=name)) for name, seed in GALLERY[:count]]
