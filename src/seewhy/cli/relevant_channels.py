"""`seewhy relevant-channels`: which channels matter for the prediction, and what do they see?"""

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
    """Rank the channels of a layer by relevance, and map the relevance through the top ones.

    Parameters
    ----------
    pictures
        Picture files or folders; - reads one picture from standard input.
    layer
        The layer; by default the deepest one with rows and columns. `seewhy layers` lists them.
    target
        A class, or a unit such as layer3:17; by default the most probable class.
    method
        An LRP method; `seewhy methods` lists them.
    count
        The number of channels to show.
    output
        The file to write; its suffix selects the format: .png, .html, .json, .npz and others. By
        default dog.relevant-channels.png in the current folder.
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
