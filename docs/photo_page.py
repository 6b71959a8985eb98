"""The page on one photograph: the figure of every family, with notes on its methods."""

import inspect
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

import seewhy
from docs.families import Family
from seewhy.attribution.drawing import as_panel
from seewhy.attribution.explanation import Panel
from seewhy.attribution.explanation_text import source_name, target_text
from seewhy.attribution.method import Method
from seewhy.show.encoding import data_uri

TEMPLATE = Path(__file__).with_suffix(".html.j2")
INDENTED = "    "
EXAMPLE = INDENTED + "seewhy."


@dataclass(frozen=True)
class Chapter:
    """One family's maps of the photograph; `png` is None if none of its methods applies."""

    family: Family
    panel: Panel
    png: bytes | None


@dataclass(frozen=True)
class Words:
    """The description of a method, in Markdown, taken from its documentation.

    - `formula`: what it computes. - `caution`: when it misleads; empty if only the family's page
    says so.
    """

    name: str
    question: str
    source: str
    formula: str
    caution: str


def words(method: type[Method]) -> Words:
    """Return the method's question, and the formula and caution of its module's documentation.

    If a module has several methods, the summary of the method's class comes first.
    """
    text = inspect.cleandoc(inspect.getmodule(method).__doc__ or "")
    _, *paragraphs = text.split("\n\n")
    opening = [p for p in paragraphs[:2] if not p.startswith(EXAMPLE)] or [method.summary()]
    formula = next((p for p in opening if p.startswith(INDENTED)), opening[0])
    caution = next((p for p in paragraphs if p.startswith("It misleads")), "")
    shared = [m for m in seewhy.methods().values() if m.__module__ == method.__module__]
    if len(shared) > 1:
        indented = [formula] if formula.startswith(INDENTED) else []
        formula, caution = "\n\n".join([method.summary(), *indented]), ""
    return Words(method.name, method.question, method.source, formula, caution)


def section(page: str, heading: str) -> str:
    """Return the text under a heading of a Markdown page, up to the next heading, or ''."""
    match = re.search(rf"^#+ {heading}\n+(.*?)(?=^#|\Z)", page, flags=re.DOTALL | re.MULTILINE)
    return match[1].strip() if match else ""


def photo_page(chapters: Sequence[Chapter]) -> str:
    """Return the page as self-contained HTML."""
    from jinja2 import Environment, StrictUndefined
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    markdown = MarkdownIt("commonmark", {"html": False})
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["prose"] = lambda text: Markup(markdown.render(text))  # html: escaped
    first = _joined(chapters).explanations[0]
    return environment.from_string(TEMPLATE.read_text()).render(
        picture=source_name(first, 0),
        target=target_text(first),
        model=first.provenance.model,
        top=first.top()[0],
        chapters=[_chapter(chapter) for chapter in chapters],
    )


def _joined(chapters: Sequence[Chapter]) -> Panel:
    """Join all families into one panel; raises SeewhyError with reasons if no method applies."""
    explanations = tuple(e for chapter in chapters for e in chapter.panel)
    return as_panel(Panel(explanations, tuple(s for c in chapters for s in c.panel.skipped)))


def _chapter(chapter: Chapter) -> dict[str, object]:
    methods = seewhy.methods()
    page = chapter.family.page.read_text()
    return {
        "name": chapter.family.name,
        "title": chapter.family.title,
        "question": section(page, chapter.family.title).partition("\n\n")[0],
        "image": _image(chapter.png) if chapter.png else None,
        "methods": [words(methods[e.method]) for e in chapter.panel],
        "skipped": chapter.panel.skipped,
        "caution": section(page, "When it misleads"),
    }


def _image(png: bytes) -> dict[str, object]:
    """Return the picture as WebP, a tenth the size of the PNG file next to the page."""
    pixels = pil_to_tensor(Image.open(io.BytesIO(png)).convert("RGB")) / 255
    height, width = pixels.shape[1:]
    return {"uri": data_uri(pixels, longest=max(height, width)), "height": height, "width": width}
