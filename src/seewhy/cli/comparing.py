"""`seewhy compare`: compare several methods on the same pictures, in one report."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from seewhy.attribution.explain import compare as compare_methods
from seewhy.attribution.explain import parse_methods
from seewhy.attribution.explanation import Panel
from seewhy.attribution.explanation_text import value_text
from seewhy.attribution.explanation_view import readable
from seewhy.attribution.method import Method
from seewhy.cli.options import (
    MODEL,
    OUTPUT,
    RUN,
    TARGET,
    ModelOptions,
    OutputOptions,
    RunOptions,
    TargetOptions,
)
from seewhy.cli.running import Task, Tell
from seewhy.cli.together import run_together
from seewhy.errors import SeewhyError
from seewhy.images import Batch
from seewhy.models.model import Model

REPORT = Path("report.html")


def compare(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    methods: str = "quick",
    layer: str | None = None,
    to: OutputOptions = OUTPUT,
    target: TargetOptions = TARGET,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
    """Compare several methods side by side, in a report that opens in a browser.

    All pictures go into report.html, or into the file that --output names; if it names a folder,
    each picture gets a report of its own.

    Parameters
    ----------
    pictures
        Picture files or folders; - reads one picture from standard input.
    methods
        quick (all but those that need hundreds of forward passes), all, or comma-separated method
        names; `seewhy methods` lists them.
    layer
        The layer, for methods that read one. The default depends on the model and is reported.
    """
    chosen = _chosen(methods, layer)
    to = dataclasses.replace(to, format_=to.format_ or "html")
    if to.output is None:
        to = dataclasses.replace(to, output=REPORT.with_suffix(to.suffix))

    def compute(opened: Model, batch: Batch, tell: Tell) -> Panel:
        return compare_methods(opened, batch, chosen, target.value, progress=tell, **run.keywords)

    def split(opened: Model, batch: Batch, tell: Tell) -> list[Panel]:
        panel = compute(opened, batch, tell)
        return [
            Panel(tuple(e[n :: len(batch)] for e in panel.explanations), panel.skipped)
            for n in range(len(batch))
        ]

    settings = {
        "methods": [str(method) for method in chosen],
        "target": str(target.value),
    }
    task = Task(split, settings, summary=_lines, data=_as_data)
    return run_together("compare", compute, settings, pictures, to, model, run, task=task)


def _chosen(methods: str, layer: str | None) -> list[Method]:
    chosen = parse_methods(methods, layer)
    if layer is not None and not any(method.reads_layer for method in chosen):
        raise SeewhyError(f"none of {methods} reads a layer; omit --layer")
    return chosen


def _as_data(panel: Panel) -> dict[str, Any]:
    skipped = [{"method": name, "reason": reason} for name, reason in panel.skipped]
    return {"skipped": skipped, "explanations": [readable(explanation) for explanation in panel]}


def _lines(panel: Panel) -> str:
    """Return lines with the target of each picture and with the skipped methods."""
    lines: Sequence[str] = [
        f"{explanation.batch.pictures[0].source}: {value_text(explanation)}"
        for explanation in (panel.explanations[0] if panel.explanations else ())
    ]
    return "\n".join([*lines, *(f"skipped {name}: {reason}" for name, reason in panel.skipped)])
