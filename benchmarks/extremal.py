"""Extremal perturbation: our default against the published algorithm, at the same exact area.

`python -m benchmarks.extremal --images FOLDER --weights FILE` prints, for both algorithms and every
area: the preserved probability of the predicted class when each mask is cut to exactly that area
and the rest is blurred, in how many pictures ours preserves no less, the mean of the mask before it
is cut, the length of its outline after that (1 for a disc of that area), and the time.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import seewhy
from benchmarks.keeping import Row, clock, show
from seewhy.perturbation.smooth import hardened

NAME = "extremal-perturbation"
EQUAL = 0.01  # probabilities that differ by less count as equal


@dataclass(frozen=True)
class Way:
    """The results of one algorithm.

    - `kept`: probability of the class, per picture and area. - `shown`: the mean of each area's
    masks. - `outline`: of the cut masks. - `seconds`: for all pictures and areas. - `forwards`: per
    picture.
    """

    kept: Float[Tensor, "pictures areas"]
    shown: Float[Tensor, " areas"]
    outline: Float[Tensor, " areas"]
    seconds: float
    forwards: float


def main() -> None:
    """Print a row for each algorithm and area as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extremal")
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--weights", required=True, help="weights file for SqueezeNet 1.1")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--areas", default="0.05,0.1,0.2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path, help="file for the measurements")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = seewhy.open_model(
        "torchvision/squeezenet1_1", weights=given.weights, device=given.device
    )
    files = sorted(given.images.glob("*.jpg"))
    files = files[:: max(1, len(files) // given.pictures)][: given.pictures]
    pixels = model.prepare([str(file) for file in files]).pixels
    whole = model(pixels).softmax(1).amax(1).mean()
    print(f"{len(files)} pictures, whole: {whole:.3f}")
    show(
        measured(model, pixels, tuple(map(float, given.areas))),
        given.json,
        ("case", "way", "area"),
    )


def measured(model: seewhy.Model, pixels: Tensor, areas: tuple[float, ...]) -> Iterator[Row]:
    """Measure ours, ours in bfloat16, and the published algorithm."""
    _way(model, pixels[:2], areas, steps=2)  # warm-up, not timed
    ours = _way(model, pixels, areas)
    yield from _rows("ours", areas, ours, ours, len(pixels))
    fast = _way(model, pixels, areas, precision="fast")
    yield from _rows("ours, bfloat16", areas, fast, ours, len(pixels))
    yield from _rows(
        "published", areas, _way(model, pixels, areas, algorithm="published"), ours, len(pixels)
    )


def _way(model: seewhy.Model, pixels: Tensor, areas: tuple[float, ...], **options) -> Way:
    begun = clock()
    e = seewhy.explain(model, pixels, NAME, areas=areas, **options)
    seconds = clock() - begun
    kept = seewhy.sufficiency_curve(model, e).kept
    cut = [hardened(e.attribution[:, i], area) for i, area in enumerate(areas)]
    outline = torch.stack([_outline(masks) for masks in cut])
    return Way(kept, e.attribution.mean((0, 2, 3)), outline, seconds, e.cost.forwards)


def _outline(masks: Float[Tensor, "pictures height width"]) -> Float[Tensor, ""]:
    """Return the length of the outline, relative to that of a disc of the same area."""
    edges = sum(masks.diff(dim=axis).abs().sum((1, 2)) for axis in (1, 2))
    return (edges / (8 * (masks.sum((1, 2)) / math.pi).sqrt())).mean()


def _rows(name: str, areas: tuple[float, ...], way: Way, ours: Way, pictures: int) -> Iterator[Row]:
    for i, area in enumerate(areas):
        yield {
            "case": f"{NAME}, {pictures} pictures",
            "way": name,
            "area": float(area),
            "kept, mean": float(way.kept[:, i].mean()),
            "ours keeps no less": int((ours.kept[:, i] >= way.kept[:, i] - EQUAL).sum()),
            "shown": float(way.shown[i]),
            "outline": float(way.outline[i]),
            "forwards": way.forwards,
            "seconds": way.seconds,
        }


if __name__ == "__main__":
    main()
