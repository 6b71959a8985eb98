"""Draw the sheet of visualisations on the page about them: `python -m docs.iconic`.

Units and classes of EfficientNet-Lite0, whose weights come with the extra `photos`.
"""

from pathlib import Path

import torch
from torchvision.utils import make_grid, save_image

import seewhy

SHEET = Path(__file__).with_name("images") / "iconic.png"
LAYER = "blocks.4"
CHANNELS = (0, 3, 4, 15, 25, 30, 35, 36)
CLASSES = ("king crab", "castle", "cello", "box turtle")
SIDE = 160  # of a tile, in pixels


def main() -> None:
    """Make the pictures and write the sheet."""
    model = seewhy.open_model("efficientnet-lite0")
    units = seewhy.visualize(model, [f"{LAYER}:{c}" for c in CHANNELS], steps=160)
    classes = seewhy.visualize(model, list(CLASSES), steps=128)
    tiles = [
        torch.nn.functional.interpolate(
            result.pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
        ).clamp(0, 1)
        for result in (units, classes)
    ]
    save_image(make_grid(torch.cat(tiles), nrow=4, padding=4, pad_value=1.0), SHEET)


if __name__ == "__main__":
    main()
