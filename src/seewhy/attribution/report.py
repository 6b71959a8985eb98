"""Reports on explanations: one self-contained HTML file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from seewhy.attribution.conclusions import conclusions
from seewhy.attribution.drawing import as_panel, draw
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.explanation_text import (
    constants_text,
    constants_warning,
    cost_text,
    entry_name,
    layer_text,
    residual_text,
    smoothing_text,
    source_name,
)
from seewhy.attribution.families import by_family, in_turns
from seewhy.errors import SeewhyError
from seewhy.images import View
from seewhy.show.colour import CLIP, PEDESTAL, Range, colours
from seewhy.show.drawing import Drawing
from seewhy.show.encoding import TINY, data_uri
from seewhy.show.overlay import rgb
from seewhy.show.text import brief_place_text, number, range_text, remarks
from seewhy.support.files import write_bytes
from seewhy.support.printable import printable

FIRST_LOOK = 3  # methods that are shown at first; the others unfold


@dataclass(frozen=True)
class Chapter:
    """Panels under a heading of their own.

    - `lead`: a paragraph under the heading. - `right`: the correct classes by picture name; if none
      of them is predicted, the picture is marked as wrong.
    """

    panels: Sequence[Explanation | Panel]
    title: str = ""
    lead: str = ""
    right: Mapping[str, Collection[str]] = field(default_factory=dict)


def report(
    panels: Sequence[Explanation | Panel | Chapter],
    path: str | Path,
    title: str | None = None,
    lead: str | None = None,
) -> None:
    """Write a report on all pictures of the panels to `path`; never a partial file.

    `lead` is a paragraph under the title.
    """
    write_bytes(path, report_html(panels, title, lead).encode())


def _visible(value: Any) -> Any:
    """Return what the template inserts: text of others with its invisible characters escaped."""
    own = hasattr(value, "__html__")  # HTML of this package
    return printable(value, keep="\n") if isinstance(value, str) and not own else value


def report_html(
    panels: Sequence[Explanation | Panel | Chapter],
    title: str | None = None,
    lead: str | None = None,
) -> str:
    """Return the report as HTML; see `report`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    chapters = [p if isinstance(p, Chapter) else Chapter([p]) for p in panels]
    all_panels = [as_panel(panel) for chapter in chapters for panel in chapter.panels]
    explanations = [e for panel in all_panels for e in panel.explanations]
    if not explanations:
        raise SeewhyError("expected at least one explanation to report on, got none")
    models = list(dict.fromkeys(e.provenance.model for e in explanations))
    loader = PackageLoader("seewhy.show")
    environment = Environment(
        loader=loader,
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def inline(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0])  # trusted: part of the package

    return environment.get_template("report.html.j2").render(
        title=title or f"Why {', '.join(models)} decides as it does",
        lead=lead,
        models=models,
        style=inline("report.css"),
        script=inline("report.js"),
        bars={
            "sequential": _gradient(0, 1, signed=False),
            "diverging": _gradient(-1, 1, signed=True),
            "for": _gradient(0, 1, signed=True),
            "against": _gradient(-1, 0, signed=True),
        },
        clip=f"{CLIP:g}th",
        pedestal=f"{PEDESTAL:g}th",
        methods=list(dict.fromkeys(e.method for e in explanations)),
        # A picture with several questions has several entries, but counts once.
        count=len({id(p) for panel in all_panels for e in panel for p in e.batch.pictures}),
        chapters=[_chapter(chapter) for chapter in chapters],
        provenance=_provenance(explanations),
    )


def _chapter(chapter: Chapter) -> dict[str, Any]:
    panels = [as_panel(panel) for panel in chapter.panels]
    pictures = [
        _picture(panel, index, chapter.right)
        for panel in panels
        for index in range(len(panel.explanations[0]))
    ]
    return {"title": chapter.title, "lead": chapter.lead, "pictures": pictures}


def _picture(panel: Panel, index: int, right: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the template's data for one picture: original, predictions, a card per method."""
    first = panel.explanations[0]
    ordered = in_turns(panel.explanations)
    first_look, rest = ordered[:FIRST_LOOK], ordered[FIRST_LOOK:]
    correct = right.get(source_name(first, index))
    original, view = first.batch.pictures[index], first.batch.views[index]
    target = first.target_names[index]
    return {
        "name": entry_name(first, index),
        "notes": original.notes,
        "original": data_uri(rgb(original.pixels)),
        "seen": data_uri(rgb(first.batch.pixels[index])),
        "size": {"height": view.size[0], "width": view.size[1]},
        "original_size": {"height": view.original[0], "width": view.original[1]},
        "frame": _frame(view),
        "pixelated": {"stage": min(view.size) < TINY, "original": min(view.original) < TINY},
        "target": target,
        "model": first.provenance.model,
        "top": _top(first, index),
        "wrong": _wrong(first, index, correct) if correct else "",
        "conclusions": [_unbroken(text) for text in conclusions(panel.explanations, index)],
        "cards": [_card(e, index) for e in first_look],
        "rest_count": len(rest),
        "rest": {
            title: [_card(e, index) for e in group] for title, group in by_family(rest).items()
        },
        "skipped": panel.skipped,
    }


def _wrong(explanation: Explanation, index: int, right: Collection[str]) -> str:
    """Return a message about a wrong prediction; empty if the prediction is right."""
    predicted = explanation.top(1)[index][0][0]
    if predicted in right:
        return ""
    return f"Wrong prediction: {predicted} instead of {' or '.join(right)}."


def _top(explanation: Explanation, index: int) -> list[dict[str, Any]]:
    """Return table rows for the top classes and the target; only probabilities get a bar."""
    target, target_name = int(explanation.target[index]), explanation.target_names[index]
    shares = not explanation.raw
    # Two classes may share a name, so rows are compared by name and value.
    top = explanation.top()[index]
    rows = [_row(name, value, share=shares) for name, value in top]
    if target < 0:
        score = float(explanation.score[index])
        return [*rows, _row(target_name, score, share=False) | {"explained": True}]
    explained = (target_name, float(explanation.class_scores[index, target]))
    if explained not in top:
        rows.append(_row(*explained, share=shares))
        top.append(explained)
    rows[top.index(explained)]["explained"] = True
    return rows


def _row(name: str, value: float, share: bool) -> dict[str, Any]:
    """Return a row of the table: a probability with a bar, or a score without one."""
    text = f"{value:.3f}" if share else number(value)
    return {"name": name, "share": value if share else None, "number": text, "explained": False}


def _card(explanation: Explanation, index: int) -> dict[str, Any]:
    """Return the template's data for one method and one picture."""
    drawing = draw(explanation, index)
    numbers = drawing.statistics
    facts = {
        "layer": layer_text(explanation),
        "values": range_text(numbers, explanation.signed),
        "where": brief_place_text(numbers),
        "residual": residual_text(explanation, index),
        "constants": constants_text(explanation, index),
        "cost": cost_text(explanation.cost, len(explanation)) + " per picture",
        "display": smoothing_text(explanation),
    }
    return {
        "method": explanation.method,
        "about": explanation.provenance.question,
        "overlay": data_uri(drawing.overlay),
        "map": data_uri(drawing.map),
        "bar": _bar(drawing.span, explanation.signed),
        "ticks": _ticks(drawing),
        "facts": {name: _unbroken(text) for name, text in facts.items() if text},
        "remarks": [
            text for text in [constants_warning(explanation, index), *remarks(numbers)] if text
        ],
        "notes": explanation.notes,
    }


def _unbroken(text: str) -> str:
    """Put a no-break space before each percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _bar(span: Range, signed: bool) -> str:
    """Return the name of the colours that the map uses."""
    if not signed:
        return "sequential"
    return "diverging" if span.low < 0 < span.high else "for" if span.high > 0 else "against"


def _ticks(drawing: Drawing) -> list[str]:
    """Return the labels under a colour bar; none if the map is flat."""
    span = drawing.span
    if span.low == span.high:
        return []
    low, high = drawing.ends
    return [low, number(0.0), high] if span.low == -span.high else [low, high]


def _frame(view: View) -> dict[str, str] | None:
    """Return the model's crop on the original, in CSS percent; None if nothing is cropped."""
    top, left, height, width = view.box
    full_height, full_width = view.original
    if (top, left, height, width) == (0, 0, full_height, full_width):
        return None
    shares = {
        "top": top / full_height,
        "left": left / full_width,
        "height": height / full_height,
        "width": width / full_width,
    }
    return {side: f"{share:.3%}" for side, share in shares.items()}


def _gradient(low: float, high: float, signed: bool) -> str:
    """Return the colour map as a CSS gradient from `low` to `high`."""
    stops = (colours(torch.linspace(low, high, 33), signed) * 255).round().int().T.tolist()
    return f"linear-gradient(to right, {', '.join(f'rgb({r} {g} {b})' for r, g, b in stops)})"


def _provenance(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """Return the settings that all maps share, and a row for each distinct set of the others."""
    settings = [_settings(explanation) for explanation in explanations]
    rows = [row for i, row in enumerate(settings) if row not in settings[:i]]
    columns = [name for name in rows[0] if len({row[name] for row in rows}) > 1]
    columns = ["method", "parameters", *(c for c in columns if c not in ("method", "parameters"))]
    return {
        "shared": {name: text for name, text in rows[0].items() if name not in columns},
        "columns": columns,
        "rows": [[row[name] for name in columns] for row in rows],
    }


def _settings(explanation: Explanation) -> dict[str, str]:
    provenance = explanation.provenance
    return {
        "method": provenance.method,
        "parameters": _pairs(provenance.parameters, " = ") or "none",
        "layer": layer_text(explanation) or "none",
        "seed": "none" if provenance.seed is None else str(provenance.seed),
        "model": provenance.model,
        "precision": provenance.precision,
        "device": provenance.device,
        "versions": _pairs(provenance.versions, " "),
    }


def _pairs(mapping: Mapping[str, Any], between: str) -> str:
    return ", ".join(f"{name}{between}{value}" for name, value in mapping.items())
