"""`seewhy demo`: real and bundled networks on pictures at hand, and a report to look at."""

from pathlib import Path
from typing import Annotated, NamedTuple

from cyclopts import Parameter
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from seewhy.attribution.explain import Report, compare
from seewhy.attribution.report import report
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
METHODS = "gradient,smoothgrad,integrated-gradients,guided-backprop,cam,grad-cam,layer-cam,fullgrad"
SHOWN = ("cat", "coffee", "rocket")  # of the photographs: what ImageNet has classes for
PHOTOGRAPHS = "EfficientNet-Lite0, trained on ImageNet, names what photographs show ({})."
ROOMS = "A small classifier names the main object of rendered rooms."
CHEAT = (
    "Last, a network that was trained on pictures in which a small mark in the corner almost "
    "always came with a mug: it takes other things for mugs when they carry the mark, and the "
    "maps show that it looks there."
)


class Part(NamedTuple):
    """A network, the pictures it is asked about, and a sentence on both."""

    model: Model
    pictures: list[Picture]
    lead: str


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
            compare(part.model, part.pictures, METHODS, progress=_share(tell, index, len(parts)))
            for index, part in enumerate(parts)
        ]
    path, lead = folder / "report.html", " ".join(part.lead for part in parts)
    report(panels, path, title="What networks look at", lead=lead)
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
    credit = "; ".join(f"{name}: {licence}" for name, _, licence in chosen)
    return [Part(model, pictures, PHOTOGRAPHS.format(credit))]


def _rooms(folder: Path) -> Part:
    scenes = [(name, render(factors, SIZE).pixels[0]) for name, factors in examples()]
    pictures = [_saved(folder, name, pixels) for name, pixels in scenes]
    return Part(open_model("scenes"), pictures, ROOMS)


def _cheating(folder: Path) -> Part:
    cheat = open_model("scenes-shortcut")
    pictures = [_saved(folder, name, pixels) for name, pixels in _fooled(cheat)]
    return Part(cheat, pictures, CHEAT)


def _fooled(cheat: Model, count: int = 3) -> list[tuple[str, Tensor]]:
    """Scenes of distinct classes that the mark most surely turns into another class."""
    factors = sample(300, seed=SEED).replace(mark=True)
    size = cheat.preparation.size or SIZE
    plain = cheat(render(factors.replace(mark=False), size).pixels).argmax(1)
    marked = cheat(render(factors, size).pixels).softmax(1).max(1)
    turned = (plain == factors.shape) & (marked.indices != factors.shape)
    chosen: dict[str, int] = {}
    for i in (marked.values * turned).argsort(descending=True).tolist():
        chosen.setdefault(CLASSES[int(factors.shape[i])], i)
    return [
        (f"{name}-with-mark", render(factors[i], SIZE).pixels[0])
        for name, i in list(chosen.items())[:count]
    ]


def _saved(folder: Path, name: str, pixels: Tensor) -> Picture:
    """The picture as a PNG file, and again as read from there."""
    path = folder / f"{name}.png"
    with atomic_write(path) as temporary:
        to_pil_image(pixels).save(temporary, "png")
    return load_picture(path)
