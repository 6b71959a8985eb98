"""Measure every method on rendered scenes and write the tables: `python -m docs.measures`.

The object's pixels in a rendered scene are known, so the map for its class can be compared with the
ground truth. Per scene:

- energy inside: the fraction of the map's positive values that lies on the object (the energy-based
  pointing game of Wang et al.: Score-CAM, 2019, arXiv 1910.01279), in [0, 1];
- hit: whether the map's maximum lies on the object (the pointing game of Zhang et al. 2016, arXiv
  1608.00507, but without their tolerance of 15 pixels);
- alike: the cosine similarity between this map and the one for the runner-up, the most probable
  other class, in [-1, 1].

A map without positive values has energy 0 and is no hit. The row "flat" is a constant map: its
energy is the object's fraction of the picture.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import seewhy
from docs.families import FAMILIES, PAGES
from seewhy.attribution.explanation import Explanation
from seewhy.attribution.method import Method
from seewhy.scenes import render, sample
from seewhy.support.files import write_bytes

SEED, SIZE = 7, 64
SCENES, RUNNER_UPS = 200, 50  # scenes; how many of them are also explained for the runner-up

# `main` writes the text between these marks in a page.
BLOCK = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
HEAD = f"""| method | energy inside, % | hits of {SCENES} | alike | forwards | backwards |
|---|---|---|---|---|---|
"""

Maps = Float[Tensor, "batch height width"]
PerPicture = Float[Tensor, " batch"]


@dataclass(frozen=True)
class Row:
    """The result of one method on all scenes; passes are per picture, as if it ran alone."""

    method: str
    energy: PerPicture
    hits: PerPicture
    alike: PerPicture
    forwards: float = 0.0
    backwards: float = 0.0

    def __str__(self) -> str:
        """Format as a line of the table: mean energy with its 95 % interval, hits, and so on."""
        energy, same = 100 * self.energy, float(self.alike.mean())
        half = 1.96 * float(energy.std()) / math.sqrt(len(energy))
        cells = [
            f"`{self.method}`",
            f"{float(energy.mean()):.1f} ± {half:.1f}",
            f"{float(self.hits.sum()):.3g}",
            f"{same:.2f}".replace("-", "−"),
            f"{self.forwards:.3g}",
            f"{self.backwards:.3g}",
        ]
        return f"| {' | '.join(cells)} |\n"


def energy_inside(heatmap: Maps, mask: Maps) -> PerPicture:
    """Return sum(relu(map) * mask) / sum(relu(map)); 0 if no value is positive."""
    positive = heatmap.double().clamp(min=0)
    total, inside = positive.sum((1, 2)), (positive * mask).sum((1, 2))
    return torch.where(total > 0, inside / total, 0.0)


def hit(heatmap: Maps, mask: Maps) -> PerPicture:
    """Return 1 if the maximum lies on mask >= 0.5, else 0; with ties, the fraction that does."""
    highest = heatmap.amax((1, 2), keepdim=True)
    maxima = (heatmap == highest).double()
    share = (maxima * (mask >= 0.5)).sum((1, 2)) / maxima.sum((1, 2))
    return torch.where(highest[:, 0, 0] > 0, share, 0.0)


def alike(heatmap: Maps, other: Maps) -> PerPicture:
    """Return the cosine similarity of two maps, per picture."""
    return F.cosine_similarity(heatmap.double().flatten(1), other.double().flatten(1))


def measured(
    methods: Sequence[str | Method],
    model: str = "scenes",
    count: int = SCENES,
    again: int = RUNNER_UPS,
) -> list[Row]:
    """Measure a flat map and every applicable method for the true class of `count` scenes.

    The first `again` scenes are also explained for the runner-up.
    """
    opened = seewhy.open_model(model)
    scene = render(sample(count, seed=SEED), SIZE)
    mask, label = scene.masks["object"], scene.label
    others = opened(scene.pixels).scatter(1, label[:, None], -math.inf).argmax(1)
    true = seewhy.compare(opened, scene.pixels, methods, target=label)
    runner_up = seewhy.compare(opened, scene.pixels[:again], methods, target=others[:again])

    def row(e: Explanation) -> Row:
        same = alike(e.heatmap[:again], runner_up[e.method].heatmap)
        inside, hits = energy_inside(e.heatmap, mask), hit(e.heatmap, mask)
        return Row(e.method, inside, hits, same, e.cost.forwards, e.cost.backwards)

    flat = torch.ones_like(mask)
    chance = Row("flat", energy_inside(flat, mask), hit(flat, mask), alike(flat, flat))
    return [chance, *map(row, true)]


def filled(page: str, rows: Mapping[str, Sequence[Row]]) -> str:
    """Return the page with its tables filled in; `rows` are by model.

    A table names a family, or "all" for all methods that use the model "scenes".
    """
    scenes = [m for family in FAMILIES if family.model == "scenes" for m in family.methods]
    tables = {family.name: (family.model, list(family.methods)) for family in FAMILIES}
    tables["all"] = "scenes", scenes

    def table(block: re.Match[str]) -> str:
        begin, name, end = block.groups()
        model, methods = tables[name]
        by_method = {row.method: row for row in rows[model]}
        shown = [by_method[m] for m in ["flat", *methods] if m in by_method]
        return begin + HEAD + "".join(map(str, shown)) + end

    return BLOCK.sub(table, page)


def main() -> None:
    """Measure all methods, and write the tables into the pages with marks for them."""
    families = [family for family in FAMILIES if family.shown]
    rows = {}
    for model in dict.fromkeys(family.model for family in families):
        methods = [m for family in families if family.model == model for m in family.asked]
        rows[model] = measured(methods, model)
        print(f"{model}\n\n{HEAD}{''.join(map(str, rows[model]))}", flush=True)
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text()
        if BLOCK.search(page):
            write_bytes(path, filled(page, rows).encode())
            print(path)


if __name__ == "__main__":
    main()
