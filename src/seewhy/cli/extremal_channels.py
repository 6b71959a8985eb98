"""`seewhy extremal-channels`: which channels of a layer suffice for the prediction?"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.jobs import pictures_of
from seewhy.cli.options import (
    MODEL,
    OUTPUT,
    RUN,
    SWITCH,
    ModelOptions,
    OneTarget,
    OutputOptions,
    RunOptions,
)
from seewhy.cli.printing import warn
from seewhy.cli.running import Tell
from seewhy.cli.together import run_together
from seewhy.concepts.extremal_channels import STEPS, ExtremalChannels, checked_shares
from seewhy.concepts.extremal_channels import extremal_channels as find
from seewhy.errors import SeewhyError
from seewhy.images import Batch
from seewhy.models.model import Model


def extremal_channels(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    layer: str | None = None,
    shares: str = "0.1",
    target: OneTarget = None,
    together: Annotated[bool, SWITCH] = False,
    photographs: Path | None = None,
    steps: int = STEPS,
    to: OutputOptions = OUTPUT,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
    """Find the few channels of a layer that keep the score when all others are set to zero.

    The first channels are illustrated by crops of pictures around their highest activations.

    Parameters
    ----------
    pictures
        Picture files or folders; - reads one picture from standard input.
    layer
        The layer; by default the deepest one with rows and columns. `seewhy layers` lists them.
    shares
        Fractions of the channels to keep, between 0 and 1, comma-separated.
    target
        A class, or a unit such as layer3:17; by default the most probable class.
    together
        Learn one set of channels for all pictures, for instance for pictures of one class.
    photographs
        A folder of pictures in which to illustrate channels; by default the explained pictures.
    steps
        The number of optimisation steps.
    """
    fractions = _shares(shares)
    among = None if photographs is None else pictures_of([photographs])
    left_out: dict[str, None] = {}

    def compute(opened: Model, batch: Batch, tell: Tell) -> ExtremalChannels:
        result = find(
            opened, batch, layer, target, fractions,
            together=together, steps=steps, photographs=among,
            precision=run.precision, batch_size=run.batch_size, progress=tell,
        )  # fmt: skip
        left_out.update(dict.fromkeys(result.exemplars.left_out))
        return result

    settings = {
        "layer": layer, "target": target, "shares": fractions, "steps": steps,
        "photographs": None if among is None else [str(path) for path in among],
    }  # fmt: skip
    joint = "--together learns one set of channels for all pictures" if together else ""
    status = run_together(
        "extremal-channels", compute, settings, pictures, to, model, run, only_together=joint
    )
    for reason in left_out:
        warn(f"skipped: {reason}")
    return 2 if left_out else status


def _shares(text: str) -> tuple[float, ...]:
    """Parse comma-separated numbers."""
    try:
        return checked_shares([float(word) for word in text.split(",") if word.strip()])
    except ValueError:
        raise SeewhyError(
            f"--shares must be numbers between 0 and 1, such as 0.05,0.1, not {text!r}"
        ) from None
