"""Draw the pictures of the README: `python docs/pictures.py`."""

from pathlib import Path

from PIL import Image

import seewhy
from seewhy.attribution.figure import image
from seewhy.images import Picture, load_picture
from seewhy.scenes import examples, render
from seewhy.sources.photographs import photographs

METHODS = "grad-cam,integrated-gradients,smoothgrad,guided-backprop"
HERE = Path(__file__).parent / "images"


def main() -> None:
    """Draw maps of a photograph (EfficientNet-Lite0) and of a rendered scene (bundled model)."""
    (cat,) = [p.path for p in photographs() if p.name == "cat"]
    photograph = Picture(load_picture(cat).pixels, "chelsea.png (CC0, Stéfan van der Walt)")
    factors = dict(examples(10))["heart"]
    scene = Picture(render(factors, 256).pixels[0], "a rendered scene")
    rows = [
        image(seewhy.compare("efficientnet-lite0", photograph, METHODS)),
        image(seewhy.compare("scenes", scene, METHODS)),
    ]
    both = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    both.paste(rows[0], (0, 0))
    both.paste(rows[1], (0, rows[0].height))
    both.save(HERE / "compare.png", optimize=True)


if __name__ == "__main__":
    main()
