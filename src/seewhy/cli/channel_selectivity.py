"""`seewhy channel-selectivity`: do methods distinguish the channels of a layer?"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from seewhy.cli.options import MODEL, OUTPUT, RUN, ModelOptions, OutputOptions, RunOptions
from seewhy.cli.running import Tell
from seewhy.cli.together import run_together
from seewhy.evaluation.selectivity import METHODS, ChannelSelectivity
from seewhy.evaluation.selectivity import channel_selectivity as measure
from seewhy.images import Batch
from seewhy.models.model import Model


def channel_selectivity(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    layer: str | None = None,
    methods: str = ",".join(METHODS),
    by: Literal["max", "mean"] = "max",
    to: OutputOptions = OUTPUT,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
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
    """

    def compute(opened: Model, batch: Batch, tell: Tell) -> ChannelSelectivity:
        return measure(opened, batch, methods, layer, by=by, progress=tell, **run.keywords)

    settings = {"layer": layer, "methods": methods, "by": by}
    return run_together("channel-selectivity", compute, settings, pictures, to, model, run)
