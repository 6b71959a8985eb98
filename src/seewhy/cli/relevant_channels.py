"""`seewhy relevant-channels`: which channels does the decision draw on, and what do they see?"""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.loading import load_all
from seewhy.cli.options import MODEL, RUN, ModelOptions, OneTarget, Output, RunOptions
from seewhy.cli.outputs import figure_path
from seewhy.cli.progress import progress
from seewhy.concepts.relevance import relevant_channels as find


def relevant_channels(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    layer: str | None = None,
    target: OneTarget = None,
    method: str = "lrp-epsilon-plus",
    count: int = 4,
    output: Output = None,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> None:
    """Rank the channels of a layer by relevance, and map what each of the first ones sees.

    Parameters
    ----------
    pictures
        Picture files, or folders of them; - reads one from standard input.
    layer
        The layer, by default the deepest with rows and columns; `seewhy layers` lists them.
    target
        What is explained, by default the most probable class: a class, or a unit such as layer3:17.
    method
        An LRP method; `seewhy methods` lists them.
    count
        How many channels.
    output
        The file to write, by suffix: .png, .html, .json, .npz and others; by default
        dog.relevant-channels.png in the current folder.
    """
    path = figure_path(output, pictures, "relevant-channels")
    loaded = load_all(pictures)
    with progress(run.quiet) as tell:
        result = find(
            model.open(), loaded, layer, target, method,
            count=count, precision=run.precision, batch_size=run.batch_size, progress=tell,
        )  # fmt: skip
    result.save(path)
    if run.json:
        print(json.dumps(result.to_dict() | {"file": str(path)}, ensure_ascii=False, indent=2))
    elif not run.quiet:
        print(f"{result.summary()}\nwritten   {path}")
