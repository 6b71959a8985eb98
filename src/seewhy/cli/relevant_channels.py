"""`seewhy relevant-channels`: which channels matter for the prediction, and what do they see?"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.options import (
    MODEL,
    OUTPUT,
    RUN,
    ModelOptions,
    OneTarget,
    OutputOptions,
    RunOptions,
)
from seewhy.cli.running import Tell
from seewhy.cli.together import run_together
from seewhy.concepts.relevance import ChannelRelevance
from seewhy.concepts.relevance import relevant_channels as find
from seewhy.images import Batch
from seewhy.models.model import Model


def relevant_channels(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    layer: str | None = None,
    target: OneTarget = None,
    method: str = "lrp-epsilon-plus",
    count: int = 4,
    to: OutputOptions = OUTPUT,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
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
    """

    def compute(opened: Model, batch: Batch, tell: Tell) -> ChannelRelevance:
        return find(
            opened, batch, layer, target, method,
            count=count, precision=run.precision, batch_size=run.batch_size, progress=tell,
        )  # fmt: skip

    settings = {"layer": layer, "target": target, "method": method, "count": count}
    return run_together("relevant-channels", compute, settings, pictures, to, model, run)
