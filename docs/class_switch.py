"""Does the map move when another class is explained?

    python -m docs.class_switch --photos photos -m torchvision/resnet50

Two photographs are placed side by side, and the class of each is explained. A class-specific map
lies on the left photograph for the left class and on the right one for the right class. Pairs are
drawn at random; the class of a photograph is what the model predicts for it alone, and a pair is
used if both classes are among the most probable of the pair. Per method, over positive values:

- in the named half: the fraction on the photograph of the explained class, mean and 95 % interval
  over the pairs; a class-agnostic map has 50 %;
- moves: how far the centre of mass moves to the right when the right class is explained instead of
  the left one, in per cent of the width of one photograph; from centre to centre it is 100.

The network must accept pictures twice as wide as its usual input.
"""

import argparse
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

import seewhy
from docs.measures import Maps, PerPicture, energy_inside
from seewhy.attribution.method import Method
from seewhy.errors import SeewhyError
from seewhy.images import find_pictures

METHODS = (
    "contrastive-excitation-backprop", "excitation-backprop", "grad-cam", "lrp-epsilon-plus",
    "lrp-epsilon-gamma-box", "lrp-epsilon", "guided-backprop", "deconvnet",
)  # fmt: skip
TOP, PAIRS, SEED = 5, 40, 0
AT_ONCE, TRIES = 8, 50  # pairs drawn at once; maximum draws per requested pair

HEAD = """| method | layer | in the named half, % | moves, % |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Pairs:
    """Pictures of two photographs each, and the classes of the left and the right photograph."""

    pixels: Float[Tensor, "pairs channels height width"]
    left: Int[Tensor, " pairs"]
    right: Int[Tensor, " pairs"]

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Row:
    """The result of one method on all pairs."""

    method: str
    layer: str | None
    named: PerPicture
    moves: PerPicture

    def __str__(self) -> str:
        """Format as a line of the table."""
        named = 100 * self.named
        half = 1.96 * float(named.std()) / math.sqrt(len(named))
        moves = f"{100 * float(self.moves.mean()):.0f}".replace("-", "−")
        layer = f"`{self.layer}`" if self.layer else "pixels"
        return f"| `{self.method}` | {layer} | {float(named.mean()):.1f} ± {half:.1f} | {moves} |\n"


def side_by_side(model: seewhy.Model) -> seewhy.Model:
    """Return the model for pictures of any width."""
    mean, std = model.mean.flatten().tolist(), model.std.flatten().tolist()
    return seewhy.Model(model.net, mean=mean, std=std, classes=model.classes, name=model.name)


def drawn(
    model: seewhy.Model, photos: Sequence[Path], count: int = PAIRS, seed: int = SEED
) -> Pairs:
    """Draw pairs of photographs whose classes are among the `TOP` most probable of the pair.

    Raises SeewhyError if too few pairs qualify.
    """
    if len(photos) < 2 or model.preparation.size is None:
        raise SeewhyError("give at least two photographs and a model with a fixed input size")
    wide, chance = side_by_side(model), random.Random(seed)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(math.ceil(count * TRIES / AT_ONCE)):
        chosen = [photo for _ in range(AT_ONCE) for photo in chance.sample(photos, 2)]
        alone = model.prepare(chosen).pixels
        left, right = model(alone).argmax(1).view(-1, 2).T
        pixels = torch.cat([alone[::2], alone[1::2]], 3)
        top = wide(pixels).topk(TOP).indices
        in_top = [(top == classes[:, None]).any(1) for classes in (left, right)]
        fits = in_top[0] & in_top[1] & (left != right)
        pairs += zip(pixels[fits], left[fits], right[fits], strict=True)
        if len(pairs) >= count:
            return Pairs(*(torch.stack(parts) for parts in zip(*pairs[:count], strict=True)))
    raise SeewhyError(
        f"{model.name} recognises both photographs in only {len(pairs)} pairs; "
        f"request fewer than {count}, or give more photographs"
    )


def centre(heatmap: Maps) -> PerPicture:
    """Return the horizontal centre of the positive values, 0 (left) to 1; 0.5 if there are none."""
    mass = heatmap.double().clamp(min=0).sum(1)
    width = mass.shape[1]
    columns = (torch.arange(width, dtype=mass.dtype) + 0.5) / width
    total = mass.sum(1)
    return torch.where(total > 0, mass @ columns / total, 0.5)


def measured(model: seewhy.Model, pairs: Pairs, method: str | Method) -> Row:
    """Measure how a method's map changes from the left class to the right one."""
    wide = side_by_side(model)
    left, right = (
        seewhy.explain(wide, pairs.pixels, method, target.tolist())
        for target in (pairs.left, pairs.right)
    )
    on_left = torch.zeros_like(left.heatmap)
    on_left[..., : on_left.shape[-1] // 2] = 1
    in_named = energy_inside(left.heatmap, on_left) + energy_inside(right.heatmap, 1 - on_left)
    moves = 2 * (centre(right.heatmap) - centre(left.heatmap))
    return Row(left.method, left.provenance.layer, in_named / 2, moves)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m docs.class_switch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR")
    parser.add_argument("-m", "--model", required=True, help="as for `seewhy explain`")
    parser.add_argument("-w", "--weights", help="a weights file")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated names")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seed", type=int, default=SEED)
    return parser


def _lines(given: argparse.Namespace) -> Iterator[str]:
    model = seewhy.open_model(given.model, given.weights)
    methods = seewhy.attribution.explain.parse_methods(given.methods)
    pairs = drawn(model, find_pictures(given.photos), given.pairs, given.seed)
    yield HEAD
    for method in methods:
        yield str(measured(model, pairs, method))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and return the exit status."""
    try:
        for line in _lines(_parser().parse_args(arguments)):
            print(line, end="", flush=True)
    except SeewhyError as error:
        print(f"docs.class_switch: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
