"""Draw the pictures of the README: `python docs/pictures.py`."""

from pathlib import Path

import seewhy
from seewhy.images import Picture
from seewhy.scenes import examples, render

METHODS = "gradient,smoothgrad,integrated-gradients,guided-backprop,cam,grad-cam,layer-cam,fullgrad"
HERE = Path(__file__).parent / "images"


def main() -> None:
    """A panel of methods on one rendered scene."""
    factors = dict(examples(10))["heart"]
    picture = Picture(render(factors, 256).pixels[0], "a rendered scene")
    panel = seewhy.compare("scenes", picture, METHODS)
    panel.save(HERE / "compare.png")


if __name__ == "__main__":
    main()
