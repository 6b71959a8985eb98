"""`seewhy channel-selectivity`: do methods distinguish the channels of a layer?"""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from seewhy.cli.loading import load_all
from seewhy.cli.options import MODEL, RUN, ModelOptions, Output, RunOptions
from seewhy.cli.outputs import figure_path
from seewhy.cli.progress import progress
from seewhy.evaluation.selectivity import METHODS
from seewhy.evaluation.selectivity import channel_selectivity as measure


def channel_selectivity(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    layer: str | None = None,
    methods: str = ",".join(METHODS),
    by: Literal["max", "mean"] = "max",
    output: Output = None,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> None:
    """Compare maps for the most active, a random and the least active channel of a layer.

    If the three maps are similar, the method is not specific to the channel.

    Parameters
    ----------
    pictures
        Picture files or folders; - reads one picture from standard input.
    layer
        The layer; by default the deepest one with rows and columns. `seewhy layers` lists them.
    methods
        all, or comma-separated method names; `seewhy methods` lists them.
    by
        How the activity of a channel is measured: its max or its mean.
    output
        The file to write; its suffix selects the format: .png, .html, .json, .npz and others. By
        default dog.channel-selectivity.png in the current folder.
    """
    path = figure_path(output, pictures, "channel-selectivity")
    loaded = load_all(pictures)
    with progress(run.quiet) as tell:
        result = measure(model.open(), loaded, methods, layer, by=by, progress=tell, **run.keywords)
    result.save(path)
    if run.json:
        print(json.dumps(result.to_dict() | {"file": str(path)}, ensure_ascii=False, indent=2))
    elif not run.quiet:
        print(f"{result.summary()}\nwritten   {path}")
