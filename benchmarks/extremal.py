"""Extremal perturbation: our default beside the published algorithm, at the same true area.

`python -m benchmarks.extremal --images FOLDER --weights FILE` prints, for both ways and every area,
the probability of the predicted class that is kept when each mask is cut to exactly that area and
all else is blurred, in how many pictures ours keeps no less, how much of the picture the mask shows
before it is cut, and the time.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import seewhy

NAME = "extremal-perturbation"
EQUAL = 0.01  # probabilities that differ by less are the same


@dataclass(frozen=True)
class Way:
    """What one way of optimising gave.

    - `kept`: probability of the class, per picture and area. - `shown`: the mean of each area's
    masks. - `seconds`: for all pictures and areas. - `forwards`: per picture.
    """

    kept: Float[Tensor, "pictures areas"]
    shown: Float[Tensor, " areas"]
    seconds: float
    forwards: float


def main() -> None:
    """Print a row for each way and area as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extremal")
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--weights", required=True, help="of SqueezeNet 1.1")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--areas", default="0.05,0.1,0.2")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = seewhy.open_model("torchvision/squeezenet1_1", weights=given.weights)
    found = sorted(given.images.glob("*.jpg"))
    files = found[:: max(1, len(found) // given.pictures)][: given.pictures]
    pixels = model.prepare([str(file) for file in files]).pixels
    print(f"{len(files)} pictures, whole: {model(pixels).softmax(1).amax(1).mean():.3f}\n")
    print("| way | area | kept, mean | ours keeps no less | shown | forwards | seconds |")
    print("|---|---|---|---|---|---|---|")
    areas = given.areas.split(",")
    ours = _measured(model, pixels, given.areas)
    _print("ours", areas, ours, ours)
    _print("ours, bfloat16", areas, _measured(model, pixels, given.areas, precision="fast"), ours)
    _print("published", areas, _measured(model, pixels, given.areas, faithful=True), ours)


def _measured(
    model: seewhy.Model, pixels: Tensor, areas: str, faithful: bool = False, precision: str = "full"
) -> Way:
    begun = time.perf_counter()
    e = seewhy.explain(model, pixels, NAME, areas=areas, faithful=faithful, precision=precision)
    seconds = time.perf_counter() - begun
    kept = seewhy.response_curve(model, e).kept
    return Way(kept, e.attribution.mean((0, 2, 3)), seconds, e.cost.forwards)


def _print(name: str, areas: list[str], way: Way, ours: Way) -> None:
    for i, area in enumerate(areas):
        no_less = int((ours.kept[:, i] >= way.kept[:, i] - EQUAL).sum())
        print(
            f"| {name} | {area} | {way.kept[:, i].mean():.3f} | {no_less} of {len(way.kept)} "
            f"| {way.shown[i]:.3f} | {way.forwards:.0f} | {way.seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
