"""Results become pictures, pages, files and words; nothing here computes an attribution."""

from seewhy.attribution.report import report, report_html
from seewhy.show.colour import Range, diverging, scale, sequential
from seewhy.show.figure import explanation_png_bytes, figure, save_png
from seewhy.show.files import load, load_panel, save
from seewhy.show.html import explanation_html
from seewhy.show.overlay import map_only, overlay
from seewhy.show.text import summary

__all__ = [
    "Range",
    "diverging",
    "explanation_html",
    "explanation_png_bytes",
    "figure",
    "load",
    "load_panel",
    "map_only",
    "overlay",
    "report",
    "report_html",
    "save",
    "save_png",
    "scale",
    "sequential",
    "summary",
]
