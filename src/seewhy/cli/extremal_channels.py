"""`seewhy extremal-channels`: which channels of a layer suffice for the prediction?"""

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.jobs import pictures_of
from seewhy.cli.loading import load_all
from seewhy.cli.options import MODEL, RUN, SWITCH, ModelOptions, OneTarget, Output, RunOptions
from seewhy.cli.outputs import figure_path
from seewhy.cli.progress import progress
from seewhy.concepts.extremal_channels import STEPS, checked_shares
from seewhy.concepts.extremal_channels import extremal_channels as find
from seewhy.errors import SeewhyError


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
    output: Output = None,
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
    output
        The file to write; its suffix selects the format: .png, .html, .json, .npz and others. By
        default dog.extremal-channels.png in the current folder.
    """
    fractions = _shares(shares)
    path = figure_path(output, pictures, "extremal-channels")
    loaded = load_all(pictures)
    among = None if photographs is None else pictures_of([photographs])
    with progress(run.quiet) as tell:
        result = find(
            model.open(), loaded, layer, target, fractions,
            together=together, steps=steps, photographs=among,
            precision=run.precision, batch_size=run.batch_size, progress=tell,
        )  # fmt: skip
    result.save(path)
    if run.json:
        print(json.dumps(result.to_dict() | {"file": str(path)}, ensure_ascii=False, indent=2))
    elif not run.quiet:
        print(f"{result.summary()}\nwritten   {path}")
    for reason in result.exemplars.left_out:
        print(f"seewhy: skipped: {reason}", file=sys.stderr)
    return 2 if result.exemplars.left_out else 0


def _shares(text: str) -> tuple[float, ...]:
    """Parse comma-separated numbers."""
    try:
        return checked_shares([float(word) for word in text.split(",") if word.strip()])
    except ValueError:
        raise SeewhyError(
            f"--shares must be numbers between 0 and 1, such as 0.05,0.1, not {text!r}"
        ) from None
