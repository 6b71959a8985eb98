"""Restorations as a figure, as JSON data and as text."""

import textwrap
from typing import TYPE_CHECKING, Any

from PIL import Image

from seewhy.show.figure_grid import HEADER, IMAGE_WIDTH, FigureGrid, clip, write_title
from seewhy.show.jsonable import jsonable
from seewhy.show.overlay import rgb
from seewhy.show.text import joined, name_of, number, percent
from seewhy.synthesis.restoration import Restoration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 46  # characters per column
DONE = {"inpaint": "filled in", "denoise": "denoised", "upscale": "enlarged"}


def text(result: Restoration) -> str:
    """Describe what was done, and when it stopped."""
    height, width = result.restored.shape[1:]
    lines = [f"picture   {name_of(result.source)}", f"task      {_task(result)}"]
    lines.append(f"result    {height} x {width} pixels, after {result.best} steps")
    lines.append(f"error     {number(float(result.loss[-1]) ** 0.5)} a visible pixel (RMS)")
    return joined([*lines, *(f"note      {note}" for note in result.notes)])


def _task(result: Restoration) -> str:
    if result.hidden is None:
        return result.task
    return f"{result.task}, {percent(float(result.hidden.mean()))} of the picture"


def figure(result: Restoration) -> "Figure":
    """Draw what was given and what came of it."""
    caption = textwrap.wrap(
        "An untrained network was fitted to the visible pixels of this picture alone. What it "
        "filled in is plausible to a convolutional network; nothing says that it was there.",
        WIDE * 2,
    )
    height, width = result.restored.shape[1:]
    grid = FigureGrid(2, [HEADER], IMAGE_WIDTH * height / width, len(caption))
    axes = grid.image(rgb(result.given), 0, 0)
    write_title(axes, clip(name_of(result.source), WIDE), "given")
    axes = grid.image(rgb(result.restored), 0, 1)
    write_title(axes, DONE.get(result.task, result.task), f"after {result.best} steps")
    grid.write_caption(caption)
    return grid.figure


def image(result: Restoration) -> Image.Image:
    """Return the restored picture alone, which is what users of a .png file want."""
    pixels = (rgb(result.restored) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)


def data(result: Restoration) -> dict[str, Any]:
    """Return the settings and the loss by step as JSON data."""
    return jsonable(
        {
            "task": result.task,
            "source": result.source,
            "height": result.restored.shape[1],
            "width": result.restored.shape[2],
            "hidden": None if result.hidden is None else float(result.hidden.mean()),
            "best": result.best,
            "loss": result.loss.tolist(),
            "seed": result.seed,
            "notes": result.notes,
        }
    )
