"""`seewhy compare`: compare several methods on the same pictures, in one report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.attribution.explain import compare as compare_methods
from seewhy.attribution.explain import parse_methods
from seewhy.attribution.explanation import Panel
from seewhy.attribution.explanation_text import value_text
from seewhy.attribution.explanation_view import readable
from seewhy.attribution.method import Method
from seewhy.cli.loading import load_all
from seewhy.cli.options import MODEL, RUN, TARGET, ModelOptions, RunOptions, TargetOptions
from seewhy.cli.outputs import check_suffix, check_writable
from seewhy.cli.progress import progress
from seewhy.errors import SeewhyError
from seewhy.results import SUFFIXES


def compare(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    methods: str = "quick",
    layer: str | None = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("report.html"),
    target: TargetOptions = TARGET,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> None:
    """Compare several methods side by side, in a report that opens in a browser.

    Parameters
    ----------
    pictures
        Picture files or folders; - reads one picture from standard input.
    methods
        quick (all but those that need hundreds of forward passes), all, or comma-separated method
        names; `seewhy methods` lists them.
    layer
        The layer, for methods that read one. The default depends on the model and is reported.
    output
        The file to write; its suffix selects the format: .html, .png, .npz, .safetensors or .json.
    """
    chosen = _chosen(methods, layer)
    check_writable(check_suffix(output, SUFFIXES))
    loaded = load_all(pictures)
    with progress(run.quiet) as tell:
        panel = compare_methods(
            model.open(), loaded, chosen, target.value, progress=tell, **run.keywords
        )
    panel.save(output)
    if run.json:
        print(json.dumps(_as_data(panel, output), ensure_ascii=False, indent=2))
    elif not run.quiet:
        print("\n".join([*_lines(panel), f"written   {output}"]))


def _chosen(methods: str, layer: str | None) -> list[Method]:
    chosen = parse_methods(methods, layer)
    if layer is not None and not any(method.reads_layer for method in chosen):
        raise SeewhyError(f"none of {methods} reads a layer; omit --layer")
    return chosen


def _as_data(panel: Panel, output: Path) -> dict[str, object]:
    skipped = [{"method": name, "reason": reason} for name, reason in panel.skipped]
    explanations = [readable(explanation) for explanation in panel]
    return {"file": str(output), "skipped": skipped, "explanations": explanations}


def _lines(panel: Panel) -> Sequence[str]:
    """Return lines with the target of each picture and with the skipped methods."""
    lines = []
    for explanation in panel.explanations[0] if panel.explanations else ():
        lines.append(f"{explanation.batch.pictures[0].source}: {value_text(explanation)}")
    return lines + [f"skipped {name}: {reason}" for name, reason in panel.skipped]
