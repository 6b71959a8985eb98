"""Photographs with a free licence from the installed scikit-image package.

Pictures that scikit-image downloads on first use are not included.
"""

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from seewhy.errors import SeewhyError


class Photograph(NamedTuple):
    """A photograph: its name, file, and licence with the author."""

    name: str
    path: Path
    licence: str


# The licences are quoted from the docstrings of skimage.data. Pictures with "no known restrictions"
# only, such as the coins, are not included.
PHOTOGRAPHS = {
    "cat": ("chelsea.png", "CC0, Stéfan van der Walt"),
    "coffee": ("coffee.png", "CC0, Rachel Michetti"),
    "rocket": ("rocket.jpg", "public domain, SpaceX"),
    "astronaut": ("astronaut.png", "public domain, NASA"),
    "camera": ("camera.png", "CC0, Lav Varshney"),
}


def photographs() -> list[Photograph]:
    """Return the photographs with names and licences, the cat first; nothing is downloaded.

    Raises `SeewhyError` if scikit-image is not installed.
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
