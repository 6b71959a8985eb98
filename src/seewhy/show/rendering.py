"""A figure as the bytes of a file, in a notebook, and on a page of its own."""

import io
import warnings
from html import escape
from typing import TYPE_CHECKING

from PIL.Image import Image

from seewhy.show.encoding import png_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 75rem }}
body {{ margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100%; background: white; border-radius: 4px }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere }}</style></head>
<body><h1>{title}</h1>
<img src="{image}" alt="The figure; the text below says the same in words">
<pre>{text}</pre></body></html>
"""


def image_bytes(figure: "Figure | Image", suffix: str, dpi: int = 150) -> bytes:
    """The figure as the bytes of a .png, .jpg, .svg or .pdf file; an image as .png or .jpg."""
    buffer = io.BytesIO()
    if isinstance(figure, Image):
        kind = {".png": "PNG", ".jpg": "JPEG"}[suffix]
        figure.save(buffer, kind, dpi=(dpi, dpi), quality=92, compress_level=4)
        return buffer.getvalue()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the file is still good.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=suffix.lstrip("."), dpi=dpi)
    return buffer.getvalue()


def notebook(figure: "Figure", text: str) -> str:
    """The figure as an `<img>` for a notebook, with what it says in words behind it."""
    image = png_uri(image_bytes(figure, ".png", dpi=110))
    return (
        f'<img src="{image}" alt="{escape(text)}" style="max-width: 100%">'
        f"<details><summary>In words</summary><pre>{escape(text)}</pre></details>"
    )


def page(title: str, figure: "Figure", text: str) -> str:
    """A page that loads nothing from elsewhere: the figure, and below it the text."""
    image = png_uri(image_bytes(figure, ".png"))
    return PAGE.format(title=escape(title), image=image, text=escape(text))
