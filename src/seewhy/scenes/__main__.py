"""Write a contact sheet of scenes, or measure how fast they are rendered.

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
    """Draw the pictures in rows, each with its class and texture as the caption."""
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
    """Measure how many pictures one core renders per second; the best of three runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return len(factors) / min(_seconds(factors, size, labels) for _ in range(3))
    finally:
        torch.set_num_threads(threads)


def _seconds(factors: Factors, size: int, labels: bool) -> float:
    started = time.perf_counter()
    scene = render(factors, size)
    computed: list[Tensor] = [scene.label]
    if labels:
        computed += [*scene.boxes.values(), *scene.parts.values(), *scene.concepts.maps.values()]
    return time.perf_counter() - started


def main(arguments: list[str] | None = None):
    """Write a contact sheet, print the rendering speed, or both."""
    parser = argparse.ArgumentParser(prog="python -m seewhy.scenes", description=__doc__)
    parser.add_argument("--contact-sheet", type=Path, metavar="OUT.png")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=8)
    options = parser.parse_args(arguments)
    if options.contact_sheet is None and not options.speed:
        parser.error("nothing to do: give --contact-sheet OUT.png or --speed")
    try:
        _run(options)
    except (SeewhyError, OSError) as error:
        parser.error(str(error))


def _run(options: argparse.Namespace):
    shortcut = Shortcut(0, 0.2, leak=0.2)  # to show some marks, independent of the class
    if options.contact_sheet is not None:
        factors = sample(options.count, options.seed, shortcut=shortcut)
        new = options.contact_sheet.with_name(options.contact_sheet.name + ".new")
        contact_sheet(factors, options.size, max(1, options.columns)).save(new, format="PNG")
        new.replace(options.contact_sheet)
        print(f"{options.contact_sheet}: {options.count} scenes")
    if options.speed:
        factors = sample(512, options.seed, shortcut=shortcut)
        for labels, name in ((False, "pixels and class"), (True, "with all masks and concepts")):
            rate = pictures_per_second(factors, options.size, labels=labels)
            print(f"{name}: {rate:.0f} pictures of {options.size} px per second on one core")


if __name__ == "__main__":
    main()
