"""Deep image prior inpainting beside scikit-image's biharmonic inpainting, on real photographs.

    SEEWHY_REAL=FOLDER python -m benchmarks.inpainting

10 photographs at 128 pixels, with half of the pixels missing at random and with text written over
them: the peak signal-to-noise ratio in dB, over the whole picture. A line is added to
`results/inpainting.jsonl` for each; an interrupted run goes on.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

import seewhy
from seewhy.images import Preparation, prepare

RESULTS = Path(__file__).with_name("results") / "inpainting.jsonl"
SIDE, PHOTOGRAPHS, SEED = 128, 10, 0
TEXT = "The quick brown fox jumps over the lazy dog. "


def half_missing(number: int) -> Tensor:
    """Return a mask that hides half of the pixels."""
    generator = torch.Generator().manual_seed(SEED + number)
    return (torch.rand(1, SIDE, SIDE, generator=generator) < 0.5).float()


def text_over(number: int) -> Tensor:
    """Return a mask that hides what lines of text cover."""
    image = Image.new("L", (SIDE, SIDE), 0)
    draw = ImageDraw.Draw(image)
    for line in range(9):
        start = (7 * line + number) % len(TEXT)
        draw.text((2, 3 + 14 * line), (TEXT * 3)[start : start + 22], fill=255, stroke_width=0)
    return torch.from_numpy(np.array(image) > 127).float()[None]


def psnr(made: Tensor, truth: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    return float(-10 * torch.log10((made - truth).pow(2).mean()))


def biharmonic(picture: Tensor, hidden: Tensor) -> Tensor:
    """Return scikit-image's solution."""
    seen = (picture * (1 - hidden)).permute(1, 2, 0).numpy()
    found = inpaint_biharmonic(seen, hidden[0].numpy() > 0, channel_axis=-1)
    return torch.from_numpy(found).permute(2, 0, 1).float().clamp(0, 1)


def main() -> None:
    """Measure what has not been measured yet."""
    files = sorted(Path(os.environ["SEEWHY_REAL"], "images", "imagenet").glob("*.jpg"))
    chosen = files[:: len(files) // PHOTOGRAPHS][:PHOTOGRAPHS]
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    done = {(line["photograph"], line["mask"]) for line in map(json.loads, lines)}
    for number, file in enumerate(chosen):
        truth = prepare(file, Preparation((SIDE, SIDE), SIDE)).pixels[0]
        for name, mask in (("half", half_missing(number)), ("text", text_over(number))):
            if (file.stem, name) in done:
                continue
            start = time.perf_counter()
            made = seewhy.inpaint(truth, mask).restored
            line = {
                "photograph": file.stem, "mask": name, "hidden": round(float(mask.mean()), 3),
                "seewhy": round(psnr(made, truth), 2),
                "biharmonic": round(psnr(biharmonic(truth, mask), truth), 2),
                "seconds": round(time.perf_counter() - start, 1),
            }  # fmt: skip
            print(json.dumps(line), flush=True)
            with RESULTS.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
