"""Draw every family of attribution methods.

    python -m docs.figures
    python -m docs.figures --photo dog.jpg -m torchvision/resnet50 --target beagle -o dog

The first command draws the pictures of docs/attribution: a rendered scene, its exact mask, and the
map of each method for the bundled model. The second draws the same for a photograph and a network
of yours, without a mask, and writes index.html, which shows the pictures with explanations.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import seewhy
from docs.families import FAMILIES, Family
from docs.photo_page import Chapter, photo_page
from docs.sheet import panel_png
from seewhy.cli.outputs import make_folder, unless_left_empty
from seewhy.errors import SeewhyError
from seewhy.images import Picture
from seewhy.scenes import Scene, examples, render
from seewhy.support.files import write_bytes

PICTURES = Path(__file__).parent / "images" / "attribution"
EXAMPLE, SIZE = "mug", 64  # the scene on the pages, and the input size of the bundled model


def example() -> Scene:
    """Render the scene that all family pages show."""
    return render(dict(examples(10))[EXAMPLE], SIZE)


def scene_png(family: Family) -> bytes:
    """Return the figure of a family for the example scene, as a PNG file."""
    scene = example()
    picture = Picture(scene.pixels[0], "a rendered scene")
    panel = seewhy.compare(family.model, picture, family.asked, EXAMPLE)
    return panel_png(panel, scene.masks["object"][0])


def draw_scene(folder: Path) -> Iterator[Path]:
    """Write a PNG for every family that a bundled model can show."""
    for family in FAMILIES:
        if family.shown:
            path = folder / f"{family.name}.png"
            write_bytes(path, scene_png(family))
            yield path


def draw_photo(
    photo: Path, model: str, weights: str | None, target: str | None, folder: Path
) -> Iterator[Path]:
    """Write a PNG for every family with a method that applies, and the page."""
    picture = seewhy.load_picture(photo)
    opened = seewhy.open_model(model, weights)
    chapters = []
    for family in FAMILIES:
        if family.registered:
            panel = seewhy.compare(opened, picture, family.registered, target)
            chapters.append(Chapter(family, panel, panel_png(panel) if len(panel) else None))
    for chapter in chapters:
        if chapter.png:
            path = folder / f"{chapter.family.name}.png"
            write_bytes(path, chapter.png)
            yield path
    page = folder / "index.html"
    write_bytes(page, photo_page(chapters).encode())
    yield page


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, like all other errors."""

    def error(self, message: str) -> NoReturn:
        raise SeewhyError(f"{message}; --help lists the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m docs.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photo", type=Path, metavar="FILE")
    parser.add_argument("-m", "--model", help="as for `seewhy explain`; by default scenes")
    parser.add_argument("-w", "--weights", help="a weights file, or random")
    parser.add_argument("--target", help="class to explain; by default the most probable one")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="the output folder")
    return parser


def _drawn(given: argparse.Namespace) -> Iterator[Path]:
    if given.photo is None:
        for name in ("model", "weights", "target"):
            if getattr(given, name) is not None:
                raise SeewhyError(f"--{name} is for a photograph; name one with --photo FILE")
        folder = given.output or PICTURES
    else:
        folder = given.output or Path(f"{given.photo.stem}-maps")
    with unless_left_empty(folder):
        make_folder(folder)
        if given.photo is None:
            yield from draw_scene(folder)
        else:
            model = given.model or "scenes"
            yield from draw_photo(given.photo, model, given.weights, given.target, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the figures, print the name of every file, and return the exit status."""
    try:
        for path in _drawn(_parser().parse_args(arguments)):
            print(path)
    except SeewhyError as error:
        print(f"docs.figures: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
