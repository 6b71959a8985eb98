"""`seewhy compare`: several methods on the same pictures, in one report."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.options import MODEL, RUN, ModelOptions, RunOptions
from seewhy.cli.places import check_suffix, check_writable
from seewhy.cli.progress import progress
from seewhy.explaining import compare as compare_methods
from seewhy.explaining import parse_methods
from seewhy.images import find_pictures, load_picture
from seewhy.show.readable import readable

SUFFIXES = (".html", ".png", ".npz", ".safetensors", ".json")


def compare(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    methods: str = "all",
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("report.html"),
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> None:
    """Put several methods side by side, in a report that opens in a browser.

    Parameters
    ----------
    pictures
        Picture files, or folders of them.
    methods
        all, or names of `seewhy methods` with commas between them.
    output
        The file to write, by suffix: .html, .png, .npz, .safetensors or .json.
    """
    chosen = parse_methods(methods, run.layer)
    check_writable(check_suffix(output, SUFFIXES))
    files = find_pictures(pictures)
    loaded = [load_picture(file) for file in files]
    keywords = {k: v for k, v in run.keywords.items() if k != "layer"}
    with progress(run.quiet) as tell:
        panel = compare_methods(model.open(), loaded, chosen, progress=tell, **keywords)
    panel.save(output)
    if run.json:
        skipped = [{"method": name, "reason": reason} for name, reason in panel.skipped]
        result = {"file": str(output), "skipped": skipped}
        result["explanations"] = [readable(e) for e in panel]
        print(json.dumps(result, ensure_ascii=False, indent=2))
    elif not run.quiet:
        first = panel.explanations[0] if panel.explanations else None
        for i, file in enumerate(files):
            if first:
                name, probability = first.target_names[i], float(first.probabilities[i])
                print(f"{file.name}: {name}, probability {probability:.3f}")
        for name, reason in panel.skipped:
            print(f"left out {name}: {reason}")
        print(f"written   {output}")
