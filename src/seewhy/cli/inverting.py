"""`seewhy invert`: what a layer still knows of a picture."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.options import (
    MODEL,
    OUTPUT,
    RUN,
    ModelOptions,
    OutputOptions,
    RunOptions,
)
from seewhy.cli.running import Tell
from seewhy.cli.together import run_together
from seewhy.images import Batch
from seewhy.models.model import Model
from seewhy.sources import open_model
from seewhy.synthesis.inversion import Inversion
from seewhy.synthesis.inversion import invert as invert_picture


def invert(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    layer: Annotated[
        tuple[str, ...], Parameter(name=["--layer", "-l"], negative=(), show_default=False)
    ],
    prior: str = "natural",
    restarts: int = 1,
    steps: int | None = None,
    judge: str | None = None,
    to: OutputOptions = OUTPUT,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
    """Make pictures that a layer cannot tell from the given one: what does it still know?

    Parameters
    ----------
    pictures
        A picture file; several, or a folder, with a folder as --output.
    layer
        A layer; may be repeated. `seewhy layers` lists them.
    prior
        natural, fourier, deep-image or none: what else the pictures should be like.
    restarts
        Pictures of each layer, from different seeds; what differs between them is lost.
    steps
        The number of optimisation steps; by default that of the prior.
    judge
        Another model, in whose features the pictures are compared with the original.
    """
    other = None if judge is None else open_model(judge, device=model.device)

    def compute(opened: Model, batch: Batch, tell: Tell) -> Inversion:
        return invert_picture(
            opened, batch, layer, prior=prior, restarts=restarts, steps=steps, judge=other,
            progress=tell, **run.keywords,
        )  # fmt: skip

    settings = {
        "layer": layer, "prior": prior, "restarts": restarts, "steps": steps, "judge": judge
    }  # fmt: skip
    return run_together("inversion", compute, settings, pictures, to, model, run)
