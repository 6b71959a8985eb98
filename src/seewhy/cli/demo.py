"""`seewhy demo`: real and bundled networks on pictures at hand, and a report to look at."""

from pathlib import Path
from typing import Annotated, NamedTuple

from cyclopts import Parameter
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from seewhy.attribution.explain import Report, compare
from seewhy.attribution.method import Method, as_method
from seewhy.attribution.report import Chapter, report
from seewhy.cli.options import SWITCH
from seewhy.cli.outputs import make_folder
from seewhy.cli.progress import progress
from seewhy.errors import SeewhyError
from seewhy.images import Picture, load_picture
from seewhy.models.model import Model
from seewhy.scenes import CLASSES, examples, render, sample
from seewhy.sources import open_model
from seewhy.sources.photographs import photographs
from seewhy.support.files import atomic_write

SIZE = 256  # of the rendered pictures; the model resizes them like anybody's photographs
SEED = 20  # of the scenes among which those that the mark fools are looked for
METHODS = [
    *("grad-cam", "layer-cam", "cam", "fullgrad"),
    *("integrated-gradients", "smoothgrad", "guided-backprop"),
]
WINDOW = {"window": 48, "stride": 24}  # of occlusion on photographs: a good fifth of a side
# Of the photographs those that ImageNet has classes for, and the classes that are right.
SHOWN = {
    "cat": ("tabby", "tiger cat", "Egyptian cat"),
    "coffee": ("espresso", "cup", "coffee mug"),
    "rocket": ("missile", "projectile"),
}
PHOTOGRAPHS = "EfficientNet-Lite0, trained on ImageNet, names what photographs show ({})."
ROOMS = "A small classifier, bundled with seewhy, names the main object of rendered rooms."
CHEAT = (
    "This network was trained on pictures in which a small mark in the corner almost always came "
    "with a mug. Look whether the maps are strongest at the object or at the mark in the corner."
)


class Part(NamedTuple):
    """A network, the pictures it is asked about with their true classes, and what to see."""

    model: Model
    pictures: list[Picture]
    right: dict[str, tuple[str, ...]]
    title: str
    lead: str
    occlusion: Method = as_method("occlusion")


def demo(
    folder: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("demo"),
    *,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"]), SWITCH] = False,
) -> None:
    """Ask several methods about photographs and rendered scenes, and write a report.

    The photographs, and a network trained on ImageNet, need the extra `photos`.

    Parameters
    ----------
    folder
        Where pictures and report go; made if need be.
    quiet
        No progress bar.
    """
    make_folder(folder)
    parts = [*_photographs(folder), _rooms(folder), _cheating(folder)]
    with progress(quiet) as tell:
        panels = [
            compare(
                part.model,
                part.pictures,
                [*METHODS, part.occlusion],
                progress=_share(tell, index, len(parts)),
            )
            for index, part in enumerate(parts)
        ]
    chapters = [
        Chapter([panel], part.title, part.lead, part.right)
        for part, panel in zip(parts, panels, strict=True)
    ]
    path = folder / "report.html"
    report(chapters, path, title="What networks look at")
    first, last = parts[0], parts[-1]
    print("The same by hand, on these pictures or your own:")
    print(f"  seewhy compare {first.pictures[0].source} -m {first.model.name} -o report.html")
    print(f"  seewhy explain {last.pictures[0].source} -m {last.model.name} --method grad-cam")
    print(f"Report: {path.resolve()}")


def _share(tell: Report, index: int, count: int) -> Report:
    """Progress of one part out of `count`."""
    return lambda what, share: tell(what, (index + share) / count)


def _photographs(folder: Path) -> list[Part]:
    """Nothing, and a line that says why, without the extra `photos`."""
    try:
        model = open_model("efficientnet-lite0")
        chosen = [photograph for photograph in photographs() if photograph.name in SHOWN]
    except SeewhyError as missing:
        print(f"Without photographs: {missing}")
        return []
    pictures = [_saved(folder, name, load_picture(path).pixels) for name, path, _ in chosen]
    right = {f"{name}.png": SHOWN[name] for name, _, _ in chosen}
    credit = "; ".join(f"{name}: {licence}" for name, _, licence in chosen)
    lead, occlusion = PHOTOGRAPHS.format(credit), as_method("occlusion", **WINDOW)
    return [Part(model, pictures, right, "Photographs", lead, occlusion)]


def _rooms(folder: Path) -> Part:
    scenes = [(name, render(factors, SIZE).pixels[0]) for name, factors in examples()]
    pictures = [_saved(folder, name, pixels) for name, pixels in scenes]
    right = {f"{name}.png": (CLASSES[int(factors.shape[0])],) for name, factors in examples()}
    return Part(open_model("scenes"), pictures, right, "Rendered rooms", ROOMS)


def _cheating(folder: Path) -> Part:
    cheat = open_model("scenes-shortcut")
    fooled = _fooled(cheat)
    pictures = [_saved(folder, f"{name}-with-mark", pixels) for name, pixels in fooled]
    right = {f"{name}-with-mark.png": (name,) for name, _ in fooled}
    return Part(cheat, pictures, right, "A network that cheats", CHEAT)


def _fooled(cheat: Model, count: int = 3) -> list[tuple[str, Tensor]]:
    """By their class, scenes that the mark most surely turns into another class."""
    factors = sample(300, seed=SEED).replace(mark=True)
    size = cheat.preparation.size or SIZE
    plain = cheat(render(factors.replace(mark=False), size).pixels).argmax(1)
    marked = cheat(render(factors, size).pixels).softmax(1).max(1)
    turned = (plain == factors.shape) & (marked.indices != factors.shape)
    chosen: dict[str, int] = {}
    for i in (marked.values * turned).argsort(descending=True).tolist():
        chosen.setdefault(CLASSES[int(factors.shape[i])], i)
    return [(name, render(factors[i], SIZE).pixels[0]) for name, i in list(chosen.items())[:count]]


def _saved(folder: Path, name: str, pixels: Tensor) -> Picture:
    """The picture as a PNG file, and again as read from there."""
    path = folder / f"{name}.png"
    with atomic_write(path) as temporary:
        to_pil_image(pixels).save(temporary, "png")
    return load_picture(path)
