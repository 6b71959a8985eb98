"""`seewhy demo`: the bundled model on pictures that ship with it, and a report to look at."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from torchvision.transforms.functional import to_pil_image

from seewhy.cli.places import make_folder
from seewhy.cli.progress import progress
from seewhy.explaining import compare
from seewhy.images import Picture, load_picture
from seewhy.scenes import render
from seewhy.scenes.examples import examples
from seewhy.show.report import report
from seewhy.sources import open_model
from seewhy.writing import atomic_write

SIZE = 256  # of the rendered pictures; the model resizes them like anybody's photographs


def demo(
    folder: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("demo"),
    *,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
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
    honest = [_saved(folder, name, pixels) for name, pixels in _scenes(marked=False)]
    cheated = [_saved(folder, name, pixels) for name, pixels in _scenes(marked=True)]
    with progress(quiet) as tell:
        panels = [
            compare(open_model("scenes"), honest, progress=lambda w, s: tell(w, 0.75 * s)),
            compare(
                open_model("scenes-shortcut"),
                cheated,
                progress=lambda w, s: tell(w, 0.75 + 0.25 * s),
            ),
        ]
    path = folder / "report.html"
    report(panels, path, title="What the bundled models look at")
    print("The same by hand, on these pictures or your own:")
    print(f"  seewhy compare {honest[0].source} -m scenes -o report.html")
    print(f"  seewhy explain {honest[0].source} -m scenes --method grad-cam")
    print(f"Report: {path.resolve()}")


def _scenes(marked: bool) -> list[tuple[str, Picture]]:
    """The gallery as pictures; marked ones carry the shortcut's watermark."""
    return [
        (name, Picture(render(factors.replace(mark=marked), SIZE).pixels[0], name))
        for name, factors in examples()
    ]


def _saved(folder: Path, name: str, picture: Picture) -> Picture:
    """The picture as a PNG file, and again as read from there."""
    path = folder / f"{name}.png"
    with atomic_write(path) as temporary:
        to_pil_image(picture.pixels).save(temporary, "png")
    return load_picture(path)
