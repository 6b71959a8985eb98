"""`seewhy demo`: explain photographs and rendered scenes, and write a report."""

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
from seewhy.cli.printing import say, wrote_file
from seewhy.cli.progress import progress
from seewhy.errors import SeewhyError
from seewhy.images import Picture, load_picture
from seewhy.models.model import Model
from seewhy.scenes import CLASSES, examples, render, sample
from seewhy.sources import open_model
from seewhy.sources.photographs import photographs
from seewhy.support.files import atomic_write

SIZE = 256  # pixels of a rendered picture; the model resizes it as it would a photograph
SEED = 20  # of the scenes that are searched for misclassifications caused by the mark
METHODS = [
    *("grad-cam", "layer-cam", "cam", "fullgrad"),
    *("integrated-gradients", "smoothgrad", "guided-backprop"),
]
WINDOW = {"window": 48, "stride": 24}  # of occlusion on photographs; 48 is a good fifth of a side
# The photographs that show ImageNet classes, with the correct classes.
SHOWN = {
    "cat": ("tabby", "tiger cat", "Egyptian cat"),
    "coffee": ("espresso", "cup", "coffee mug"),
    "rocket": ("missile", "projectile"),
}
PHOTOGRAPHS = "EfficientNet-Lite0, trained on ImageNet, classifies photographs ({})."
ROOMS = "A small classifier, bundled with seewhy, recognises the main object in rendered rooms."
CHEAT = (
    "This network was trained on pictures in which a small mark in the corner almost always came "
    "with a mug. Check whether the maps are strongest at the object or at the mark in the corner."
)


class Part(NamedTuple):
    """A chapter of the report: a model, pictures with their true classes, and the text."""

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
    """Apply several methods to photographs and rendered scenes, and write a report.

    The photographs and the network trained on ImageNet require the extra `photos`.

    Parameters
    ----------
    folder
        The folder for pictures and report; created if needed.
    quiet
        Show no progress bar.
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
    wrote_file()
    first, last = parts[0], parts[-1]
    say("To run single steps on these pictures or your own:")
    say(f"  seewhy compare {first.pictures[0].source} -m {first.model.name} -o report.html")
    say(f"  seewhy explain {last.pictures[0].source} -m {last.model.name} --method grad-cam")
    say(f"Report: {path.resolve()}")


def _share(tell: Report, index: int, count: int) -> Report:
    """Return a progress function for one of `count` parts."""
    return lambda what, share: tell(what, (index + share) / count)


def _photographs(folder: Path) -> list[Part]:
    """Return the part on photographs; without the extra `photos`, print why and return none."""
    try:
        model = open_model("efficientnet-lite0")
        chosen = [photograph for photograph in photographs() if photograph.name in SHOWN]
    except SeewhyError as missing:
        say(f"Photographs skipped: {missing}")
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
    """Return scenes whose class the mark changes with the highest probability, one per class."""
    factors = sample(300, seed=SEED).replace(mark=True)
    size = cheat.preparation.size or SIZE
    unmarked = cheat(render(factors.replace(mark=False), size).pixels).argmax(1)
    marked = cheat(render(factors, size).pixels).softmax(1).max(1)
    changed = (unmarked == factors.shape) & (marked.indices != factors.shape)
    chosen: dict[str, int] = {}
    for i in (marked.values * changed).argsort(descending=True).tolist():
        chosen.setdefault(CLASSES[int(factors.shape[i])], i)
    return [(name, render(factors[i], SIZE).pixels[0]) for name, i in list(chosen.items())[:count]]


def _saved(folder: Path, name: str, pixels: Tensor) -> Picture:
    """Save the picture as a PNG file and return it as loaded from there."""
    path = folder / f"{name}.png"
    with atomic_write(path) as temporary:
        to_pil_image(pixels).save(temporary, "png")
    return load_picture(path)
