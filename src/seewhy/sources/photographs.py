"""Photographs with a free licence that are on this machine: those in scikit-image's wheel.

scikit-image downloads many of its pictures when they are first asked for; those are left out.
"""

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from seewhy.errors import SeewhyError


class Photograph(NamedTuple):
    """A file, what it shows, and what its photographer allows."""

    name: str
    path: Path
    licence: str


# The licences are those in the docstrings of skimage.data. Pictures of which it only says that
# no restrictions are known, such as the coins, are not here.
PHOTOGRAPHS = {
    "cat": ("chelsea.png", "CC0, Stéfan van der Walt"),
    "coffee": ("coffee.png", "CC0, Rachel Michetti"),
    "rocket": ("rocket.jpg", "public domain, SpaceX"),
    "astronaut": ("astronaut.png", "public domain, NASA"),
    "camera": ("camera.png", "CC0, Lav Varshney"),
}


def photographs() -> list[Photograph]:
    """Photographs by name with their licences, the cat first; nothing is downloaded.

    Raises `SeewhyError` when scikit-image is not installed.
    """
    try:
        folder = Path(str(files("skimage") / "data"))
    except ModuleNotFoundError:
        raise SeewhyError(
            'the photographs need scikit-image; run: pip install "seewhy[photos]"'
        ) from None
    return [
        Photograph(name, folder / file, licence)
        for name, (file, licence) in PHOTOGRAPHS.items()
        if (folder / file).is_file()
    ]
