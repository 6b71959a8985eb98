"""How an explanation shows itself in a notebook."""

from html import escape

from seewhy.attribution.explanation import Explanation, Panel
from seewhy.show.drawing import as_panel
from seewhy.show.encoding import png_uri
from seewhy.show.figure import explanation_png_bytes
from seewhy.show.text import caption


def explanation_html(thing: Explanation | Panel) -> str:
    """The figure as an `<img>` with its caption; what `_repr_html_` returns."""
    panel = as_panel(thing)
    described = "; ".join(
        caption(explanation, index)
        for explanation in panel.explanations
        for index in range(len(explanation))
    )
    image = png_uri(explanation_png_bytes(panel, dpi=110))
    return f'<img src="{image}" alt="{escape(described)}" style="max-width: 100%">'
