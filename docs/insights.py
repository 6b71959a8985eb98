"""What extremal perturbations show about networks: the paper's claims, tested on other data.

    python -m docs.insights
    python -m docs.insights --photos photos -m torchvision/squeezenet1_1 -w weights.safetensors

Ruth Fong, Mandela Patrick, Andrea Vedaldi 2019, arXiv 1910.08485. The first command measures on
rendered scenes, whose masks are exact, the second on photographs. Both print the tables of
docs/attribution/masks.md.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import seewhy
from docs.measures import energy_inside
from seewhy.concepts.extremal_channels import best, how_many
from seewhy.errors import SeewhyError
from seewhy.images import find_pictures
from seewhy.perturbation.perturbations import PYRAMID, perturbation
from seewhy.perturbation.smooth import hardened
from seewhy.scenes import CLASSES, Factors, Scene, render, sample
from seewhy.zoo.measuring import Share

NAME, SEED, SIZE = "extremal-perturbation", 11, 64
AREAS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)  # of a scene
PHOTO_AREAS = (0.05, 0.1, 0.2, 0.4)
SHARES = (0.05, 0.1, 0.2)  # of the channels
PRESERVED, ENOUGH = 0.1, 0.9
MARKED = "mug"

Maps = Float[Tensor, "pictures height width"]


def scenes(count: int) -> Iterator[str]:
    """Yield the tables for rendered scenes, where the object is known."""
    model = seewhy.open_model("scenes")
    scene = render(sample(count, seed=SEED), SIZE)
    yield from on_the_object(model, scene)
    yield from alone(model, scene)
    yield from by_size(model, scene)
    yield from two_objects(model, count)
    yield from shortcut(count)


def on_the_object(model: seewhy.Model, scene: Scene) -> Iterator[str]:
    """Measure how much of the preserved region lies on the object."""
    mask = scene.masks["object"]
    options = {"target": scene.label.tolist()}
    e = seewhy.explain(model, scene.pixels, NAME, areas=str(PRESERVED), **options)
    gradient = seewhy.explain(model, scene.pixels, "gradient", **options).heatmap
    ours, theirs = (_inside(hardened(h, PRESERVED), mask) for h in (e.attribution[:, 0], gradient))
    energy = energy_inside(gradient, mask)
    most = (mask.sum((1, 2)) / (PRESERVED * SIZE**2)).clamp(max=1)
    yield "| pixels of the preserved 10 % that lie on the object | % |\n|---|---|\n"
    yield f"| of the mask | {_percent(ours)} |\n"
    yield f"| of the gradient: of its sum | {_percent(energy)} |\n"
    yield f"| of the gradient: of its largest 10 % | {_percent(theirs)} |\n"
    yield f"| at most, as objects are small | {_percent(most)} |\n\n"


def alone(model: seewhy.Model, scene: Scene) -> Iterator[str]:
    """Is the foreground sufficient? And is the class kept without it?"""
    predicted = model(scene.pixels).argmax(1)
    mask = (scene.masks["object"] >= 0.5).float()
    yield "| what is seen, the rest blurred | keeps the class |\n|---|---|\n"
    for words, part in (("the object alone", mask), ("everything but the object", 1 - mask)):
        yield f"| {words} | {_share(_classes(model, scene.pixels, part) == predicted)} |\n"
    yield "\n"


def by_size(model: seewhy.Model, scene: Scene) -> Iterator[str]:
    """Are large objects recognised by details? Compare the sufficient area with the object's."""
    area = scene.masks["object"].mean((1, 2))
    e = seewhy.explain(model, scene.pixels, NAME, scene.label.tolist(), areas=AREAS)
    enough = seewhy.sufficiency_curve(model, e).enough(ENOUGH)
    third = area.argsort().argsort() * 3 // len(area)
    yield "| objects | object, % of the picture | enough, % | enough / object |\n"
    yield "|---|---|---|---|\n"
    for number, words in enumerate(("the smallest third", "the middle", "the largest third")):
        some = (third == number) & enough.isfinite()
        ratio = (enough[some] / area[some]).median()
        yield (
            f"| {words} | {100 * area[some].median():.1f} | {100 * enough[some].median():.1f} "
            f"| {ratio:.2f} |\n"
        )
    yield "\n"


def two_objects(model: seewhy.Model, count: int) -> Iterator[str]:
    """Does evidence from several objects add up? Test two scenes of one class side by side."""
    wide = seewhy.Model(
        model.net, mean=model.mean.flatten().tolist(), std=model.std.flatten().tolist()
    )
    first = sample(count, seed=SEED)
    sides = [render(f, SIZE) for f in (first, sample(count, SEED + 1).replace(shape=first.shape))]
    pixels = torch.cat([s.pixels for s in sides], 3)
    objects = [(s.masks["object"] >= 0.5).float() for s in sides]
    nothing = torch.zeros_like(objects[0])
    scores = [
        _logits(wide, pixels, torch.cat(parts, 2)).gather(1, first.shape[:, None])[:, 0]
        for parts in ((objects[0], nothing), (nothing, objects[1]), objects)
    ]
    single = torch.stack(scores[:2])
    yield "| objects that are seen | logit of their class, mean |\n|---|---|\n"
    yield f"| the weaker of two | {single.amin(0).mean():.2f} |\n"
    yield f"| the stronger | {single.amax(0).mean():.2f} |\n"
    yield f"| both | {scores[2].mean():.2f} |\n\n"
    yield f"Both say more than either alone in {_share(scores[2] > single.amax(0))}.\n\n"


def shortcut(count: int) -> Iterator[str]:
    """Does the mask find the mark when the mark determines the class?"""
    model = seewhy.open_model("scenes-shortcut")
    scene, mark = decided_by_the_mark(model, sample(count, seed=SEED))
    e = seewhy.explain(model, scene, NAME, CLASSES.index(MARKED), areas=(0.02,))
    hits = _inside(mark, hardened(e.attribution[:, 0], 0.02)) > 0.5
    yield f"Where the mark decides, a mask of 2 % shows most of it in {_share(hits)}.\n\n"


def decided_by_the_mark(model: seewhy.Model, factors: Factors) -> tuple[Tensor, Maps]:
    """Return the scenes where only the mark causes the marked class, and their marks."""
    target = CLASSES.index(MARKED)
    marked, plain = (render(factors.replace(mark=on), SIZE) for on in (True, False))
    decides = (model(marked.pixels).argmax(1) == target) & (model(plain.pixels).argmax(1) != target)
    return marked.pixels[decides], (marked.masks["mark"][decides] >= 0.5).float()


def photographs(model: seewhy.Model, files: Sequence[Path], layer: str | None) -> Iterator[str]:
    """Yield the tables of sufficient areas and sufficient channels for photographs."""
    pixels = model.prepare([str(file) for file in files]).pixels
    e = seewhy.explain(model, pixels, NAME, areas=PHOTO_AREAS)
    curve = seewhy.sufficiency_curve(model, e)
    yield "| seen, % | probability kept, mean | keeps the class | more than the whole picture |\n"
    yield "|---|---|---|---|\n"
    for i, area in enumerate(PHOTO_AREAS):
        cut = hardened(e.attribution[:, i], area)
        same = _classes(model, pixels, cut) == e.target
        kept = curve.kept[:, i]
        yield (
            f"| {100 * area:.0f} | {kept.mean():.2f} | {_share(same)} "
            f"| {_share(kept > curve.whole)} |\n"
        )
    yield f"| 100 | {curve.whole.mean():.2f} | | |\n\n"
    yield from channels(model, pixels, layer)


def channels(model: seewhy.Model, pixels: Tensor, layer: str | None) -> Iterator[str]:
    """Compare the sufficient channels with the most active ones and random ones."""
    found = seewhy.extremal_channels(model, pixels, layer, shares=SHARES)
    predicted = model(pixels).argmax(1)
    chance = torch.rand(found.masks[:, 0].shape, generator=torch.Generator().manual_seed(SEED))
    yield f"| channels of `{found.layer}` that are kept | learned | most active | random |\n"
    yield "|---|---|---|---|\n"
    for i, share in enumerate(found.shares):
        kept = [
            _share(_with_channels(model, pixels, found, best(ranked, share)) == predicted)
            for ranked in (found.masks[:, i], found.activity, chance)
        ]
        number = how_many(share, found.masks.shape[2])
        yield f"| {100 * share:.0f} % ({number}) | {' | '.join(map(str, kept))} |\n"
    yield "\n"


def _with_channels(
    model: seewhy.Model,
    pixels: Tensor,
    found: seewhy.ExtremalChannels,
    kept: Bool[Tensor, "pictures channels"],
) -> Tensor:
    """Return the predicted classes when all other channels are set to zero."""
    shape = [len(kept)] + [1] * (found.dimensions - 1)
    shape[found.channels_axis] = -1
    with seewhy.edited(model, {found.layer: lambda a: a * kept.view(shape).to(a)}):
        return model(pixels).argmax(1)


def _logits(model: seewhy.Model, pixels: Tensor, masks: Maps) -> Tensor:
    seen = perturbation(PYRAMID, model, pixels)
    with torch.no_grad():
        parts = torch.arange(len(pixels)).split(16)
        return torch.cat([model(seen.apply(some, masks[some])) for some in parts])


def _classes(model: seewhy.Model, pixels: Tensor, masks: Maps) -> Tensor:
    return _logits(model, pixels, masks).argmax(1)


def _inside(part: Maps, mask: Maps) -> Float[Tensor, " pictures"]:
    """Return the fraction of `part` that lies on the mask."""
    return (part * (mask >= 0.5)).sum((1, 2)) / part.sum((1, 2))


def _share(hits: Tensor) -> str:
    share = Share(int(hits.sum()), hits.numel())
    low, high = share.interval
    return f"{100 * share.value:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def _percent(values: Tensor) -> str:
    half = 196 * float(values.std()) / len(values) ** 0.5
    return f"{100 * float(values.mean()):.1f} ± {half:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.insights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="a folder; by default rendered scenes are used"
    )
    parser.add_argument("-m", "--model", help="as for `seewhy explain`")
    parser.add_argument("-w", "--weights", help="a weights file")
    parser.add_argument("--layer", help="layer for channels; by default the deepest with a grid")
    parser.add_argument("--count", type=int, default=100, help="number of scenes or photographs")
    given = parser.parse_args(arguments)
    try:
        lines = scenes(given.count)
        if given.photos:
            files = find_pictures(given.photos)
            files = files[:: max(1, len(files) // given.count)][: given.count]
            model = seewhy.open_model(given.model, given.weights)
            lines = photographs(model, files, given.layer)
        for line in lines:
            print(line, end="", flush=True)
    except SeewhyError as error:
        print(f"docs.insights: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
