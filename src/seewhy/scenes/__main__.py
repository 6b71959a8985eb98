"""Look at scenes, and time them.

From a shell:

    python -m seewhy.scenes --contact-sheet sheet.png --count 40 --size 96
    python -m seewhy.scenes --speed
"""

import argparse
import time
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.scenes import CLASSES, TEXTURES, Factors, Shortcut, render, sample

CAPTION = 14  # pixels under each picture


def contact_sheet(factors: Factors, size: int, columns: int) -> Image.Image:
    """The pictures in rows, each with its class and texture under it."""
    pictures = (render(factors, size).pixels * 255).round().byte().movedim(1, -1).numpy()
    rows = -(-len(factors) // columns)
    sheet = Image.new("RGB", (columns * (size + 4), rows * (size + CAPTION + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        left, top = i % columns * (size + 4) + 2, i // columns * (size + CAPTION + 4) + 2
        sheet.paste(Image.fromarray(picture), (left, top))
        texture = TEXTURES[int(factors.texture[i])]
        name = CLASSES[int(factors.shape[i])] + ("" if texture == "plain" else f", {texture}")
        draw.text((left + 2, top + size + 1), name, fill="black")
    return sheet


def pictures_per_second(factors: Factors, size: int, *, labels: bool) -> float:
    """How many pictures one core renders in a second, the best of three goes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return len(factors) / min(_seconds(factors, size, labels) for _ in range(3))
    finally:
        torch.set_num_threads(threads)


def _seconds(factors: Factors, size: int, labels: bool) -> float:
    started = time.perf_counter()
    scene = render(factors, size)
    touched: list[Tensor] = [scene.label]
    if labels:
        touched += [*scene.boxes.values(), *scene.parts.values(), *scene.concepts.maps.values()]
    return time.perf_counter() - started


def main(arguments: list[str] | None = None):
    """Write a contact sheet, or print the speed, or both."""
    parser = argparse.ArgumentParser(prog="python -m seewhy.scenes", description=__doc__)
    parser.add_argument("--contact-sheet", type=Path, metavar="OUT.png")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=8)
    given = parser.parse_args(arguments)
    if given.contact_sheet is None and not given.speed:
        parser.error("nothing to do: give --contact-sheet OUT.png or --speed")
    try:
        _run(given)
    except (SeewhyError, OSError) as error:
        parser.error(str(error))


def _run(given: argparse.Namespace):
    shortcut = Shortcut(0, 0.2, leak=0.2)  # some marks to look at, tied to nothing
    if given.contact_sheet is not None:
        factors = sample(given.count, given.seed, shortcut=shortcut)
        new = given.contact_sheet.with_name(given.contact_sheet.name + ".new")
        contact_sheet(factors, given.size, max(1, given.columns)).save(new, format="PNG")
        new.replace(given.contact_sheet)
        print(f"{given.contact_sheet}: {given.count} scenes")
    if given.speed:
        factors = sample(512, given.seed, shortcut=shortcut)
        for labels, what in ((False, "pixels and class"), (True, "with all masks and concepts")):
            rate = pictures_per_second(factors, given.size, labels=labels)
            print(f"{what}: {rate:.0f} pictures of {given.size} px a second on one core")


if __name__ == "__main__":
    main()
