"""Draw the pictures of the README: `python docs/pictures.py`."""

from pathlib import Path

import seewhy
from seewhy.images import Picture
from seewhy.scenes import examples, render

HERE = Path(__file__).parent / "images"


def main() -> None:
    """The panel of methods on one rendered scene."""
    factors = dict(examples(10))["heart"]
    picture = Picture(render(factors, 256).pixels[0], "a rendered scene")
    panel = seewhy.compare("scenes", picture)
    panel.save(HERE / "compare.png")


if __name__ == "__main__":
    main()
