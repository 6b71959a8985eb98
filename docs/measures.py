"""Measure every method on rendered scenes, and write the tables: `python -m docs.measures`.

A scene knows which pixels show its object, so the map for the object's class can be compared
with the truth. Per scene:

- energy inside: the share of the map's positive values that lies on the object (the energy-based
  pointing game of Wang et al.: Score-CAM, 2019, arXiv 1910.01279), in [0, 1];
- hit: whether the map's maximum lies on the object (the pointing game of Zhang et al. 2016, arXiv
  1608.00507, who also allow 15 pixels beside it; here none is allowed);
- alike: the cosine between this map and the one for the runner-up, the most probable other
  class, in [-1, 1].

A map without positive values has no energy inside and is no hit. The row "flat" is a map that is
the same everywhere: its energy inside is the object's share of the picture.
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
SCENES, RUNNER_UPS = 200, 50  # scenes for the truth; of these, for the other class too

# What stands between these marks in a page is written by `main`.
BLOCK = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
HEAD = f"""| method | energy inside, % | hits of {SCENES} | alike | forwards | backwards |
|---|---|---|---|---|---|
"""

Maps = Float[Tensor, "batch height width"]
PerPicture = Float[Tensor, " batch"]


@dataclass(frozen=True)
class Row:
    """One method on all scenes; passes are per picture, as if the method ran alone."""

    method: str
    energy: PerPicture
    hits: PerPicture
    alike: PerPicture
    forwards: float = 0.0
    backwards: float = 0.0

    def __str__(self) -> str:
        """A line of the table: the mean energy with its 95 % interval, and the others' sums."""
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
    """sum of relu(map) * mask / sum of relu(map); 0 where nothing is positive."""
    positive = heatmap.double().clamp(min=0)
    total, inside = positive.sum((1, 2)), (positive * mask).sum((1, 2))
    return torch.where(total > 0, inside / total, 0.0)


def hit(heatmap: Maps, mask: Maps) -> PerPicture:
    """1 where the maximum lies on mask >= 0.5, else 0; of several maxima, the share that does."""
    highest = heatmap.amax((1, 2), keepdim=True)
    maxima = (heatmap == highest).double()
    share = (maxima * (mask >= 0.5)).sum((1, 2)) / maxima.sum((1, 2))
    return torch.where(highest[:, 0, 0] > 0, share, 0.0)


def alike(heatmap: Maps, other: Maps) -> PerPicture:
    """The cosine between two maps of each picture."""
    return F.cosine_similarity(heatmap.double().flatten(1), other.double().flatten(1))


def measured(
    methods: Sequence[str | Method],
    model: str = "scenes",
    count: int = SCENES,
    again: int = RUNNER_UPS,
) -> list[Row]:
    """A flat map, and every method that applies, for the true class of `count` seeded scenes.

    The first `again` scenes are explained for the runner-up too.
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
    """The page with its tables: of the family that each names, or of "all" that are on "scenes".

    `rows` are by model.
    """
    scenes = [method for one in FAMILIES if one.model == "scenes" for method in one.methods]
    tables = {one.name: (one.model, list(one.methods)) for one in FAMILIES}
    tables["all"] = "scenes", scenes

    def table(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        model, methods = tables[name]
        by_method = {row.method: row for row in rows[model]}
        shown = [by_method[m] for m in ["flat", *methods] if m in by_method]
        return begin + HEAD + "".join(map(str, shown)) + end

    return BLOCK.sub(table, page)


def main() -> None:
    """Measure, and write the tables into the pages that have a place for them."""
    families = [one for one in FAMILIES if one.shown]
    rows = {}
    for model in dict.fromkeys(one.model for one in families):
        methods = [method for one in families if one.model == model for method in one.asked]
        rows[model] = measured(methods, model)
        print(f"{model}\n\n{HEAD}{''.join(map(str, rows[model]))}", flush=True)
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text()
        if BLOCK.search(page):
            write_bytes(path, filled(page, rows).encode())
            print(path)


if __name__ == "__main__":
    main()
