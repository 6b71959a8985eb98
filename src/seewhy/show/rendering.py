"""Convert a figure to the bytes of an image file, to notebook output, or to an HTML page."""

import io
from typing import TYPE_CHECKING

from PIL.Image import Image

from seewhy.show.encoding import png_uri
from seewhy.show.text import html
from seewhy.show.tree import tree

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
<img src="{image}" alt="The figure; the text below describes it">
<pre>{text}</pre></body></html>
"""

# The colours are those of the notebook's theme; only the figure has its own background.
NOTEBOOK_STYLE = """<style>
.seewhy { font: 13px/1.5 system-ui, sans-serif }
.seewhy img { max-width: 100%; background: white; border-radius: 4px; display: block }
.seewhy summary { cursor: pointer; padding: 2px 0 }
.seewhy pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px; margin: 2px 0 6px }
.seewhy .inside { margin-left: 5px; padding-left: 14px; border-left: 1px solid #8886 }
.seewhy .leaf { padding: 1px 0 1px 14px; overflow-wrap: anywhere }
.seewhy b { font-weight: 600 }
.seewhy i { font-style: normal; opacity: .65 }
.seewhy svg { vertical-align: -2px; margin-left: 6px; opacity: .6 }
</style>"""


def image_bytes(figure: "Figure | Image", suffix: str, dpi: int = 150) -> bytes:
    """Encode a figure as a .png, .jpg, .svg or .pdf file, or an image as .png or .jpg."""
    buffer = io.BytesIO()
    if isinstance(figure, Image):
        kind = {".png": "PNG", ".jpg": "JPEG"}[suffix]
        figure.save(buffer, kind, dpi=(dpi, dpi), quality=92, compress_level=4)
        return buffer.getvalue()
    figure.savefig(buffer, format=suffix.lstrip("."), dpi=dpi)
    return buffer.getvalue()


def notebook(result: object, figure: "Figure | Image", text: str) -> str:
    """Return HTML for a notebook: the figure, its text, and the contents of the result."""
    image = png_uri(image_bytes(figure, ".png", dpi=110))
    return (
        f"{NOTEBOOK_STYLE}<div class=seewhy>"
        f'<img src="{image}" alt="{html(text)}">'
        f"<details open><summary>Summary</summary><pre>{html(text)}</pre></details>"
        f"{tree('result', result)}</div>"
    )


def page(title: str, figure: "Figure", text: str) -> str:
    """Return a self-contained HTML page with the figure and, below it, the text."""
    image = png_uri(image_bytes(figure, ".png"))
    return PAGE.format(title=html(title), image=image, text=html(text))
