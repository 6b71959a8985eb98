"""`seewhy demo`: the bundled model on pictures that ship with it, and a report to look at."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from seewhy.attribution.explain import compare
from seewhy.attribution.report import report
from seewhy.cli.options import SWITCH
from seewhy.cli.outputs import make_folder
from seewhy.cli.progress import progress
from seewhy.images import Picture, load_picture
from seewhy.models.model import Model
from seewhy.scenes import CLASSES, examples, render, sample
from seewhy.sources import open_model
from seewhy.support.files import atomic_write

SIZE = 256  # of the rendered pictures; the model resizes them like anybody's photographs
SEED = 20  # of the scenes among which those that the mark fools are looked for
METHODS = "gradient,smoothgrad,integrated-gradients,guided-backprop,cam,grad-cam,layer-cam,fullgrad"
LEAD = (
    "First, rendered rooms and a classifier that names their main object. Then a network that was "
    "trained on pictures in which a small mark in the corner almost always came with a mug: it "
    "takes other things for mugs when they carry the mark, and the maps show that it looks there."
)


def demo(
    folder: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("demo"),
    *,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"]), SWITCH] = False,
) -> None:
    """Render a few scenes, ask every method about them, and write a report.

    Parameters
    ----------
    folder
        Where pictures and report go; made if need be.
    quiet
        No progress bar.
    """
    make_folder(folder)
    honest, cheat = open_model("scenes"), open_model("scenes-shortcut")
    plain = [_saved(folder, name, pixels) for name, pixels in _gallery()]
    fooled = [_saved(folder, name, pixels) for name, pixels in _fooled(cheat)]
    with progress(quiet) as tell:
        panels = [
            compare(honest, plain, METHODS, progress=lambda what, share: tell(what, share * 2 / 3)),
            compare(
                cheat, fooled, METHODS, progress=lambda what, share: tell(what, 2 / 3 + share / 3)
            ),
        ]
    path = folder / "report.html"
    report(panels, path, title="What the bundled models look at", lead=LEAD)
    print("The same by hand, on these pictures or your own:")
    print(f"  seewhy compare {plain[0].source} -m scenes -o report.html")
    print(f"  seewhy explain {fooled[0].source} -m scenes-shortcut --method grad-cam")
    print(f"Report: {path.resolve()}")


def _gallery() -> list[tuple[str, Tensor]]:
    return [(name, render(factors, SIZE).pixels[0]) for name, factors in examples()]


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
