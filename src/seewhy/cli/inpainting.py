"""`seewhy inpaint`: fill in what a mask hides, with an untrained network as the prior."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.loading import load
from seewhy.cli.options import SWITCH, Output
from seewhy.cli.outputs import figure_path
from seewhy.cli.printing import say, say_json, wrote_file
from seewhy.cli.progress import progress
from seewhy.images import load_picture
from seewhy.sources.devices import as_device
from seewhy.synthesis.restoration import INPAINT_STEPS, LONGEST
from seewhy.synthesis.restoration import inpaint as fill_in


def inpaint(
    picture: Path,
    /,
    *,
    mask: Path,
    steps: int = INPAINT_STEPS,
    longest: int = LONGEST,
    output: Output = None,
    device: str = "cpu",
    seed: int = 0,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"]), SWITCH] = False,
    json: Annotated[bool, SWITCH] = False,
) -> None:
    """Fill in the parts of a picture that a mask hides, without any training data.

    Parameters
    ----------
    picture
        A picture file; - reads one from standard input.
    mask
        A picture of the same size, white where the picture is to be filled in.
    steps
        The number of optimisation steps.
    longest
        A picture with a longer side is reduced to so many pixels first.
    output
        The file to write, by default dog.inpainted.png: .png and .jpg are the restored picture,
        .html, .svg and .pdf show it beside the given one, .json and .npz hold everything.
    device
        cpu, cuda, cuda:1 or mps.
    seed
        Random seed.
    quiet
        Print no progress bar and no summary.
    json
        Print the result as JSON instead of a summary.
    """
    path = figure_path(output, [picture], "inpainted")
    opened, on = load(picture), as_device(device)
    with progress(quiet) as tell:
        result = fill_in(
            opened, load_picture(mask), steps=steps, longest=longest, seed=seed, device=on,
            progress=tell,
        )  # fmt: skip
    result.save(path)
    wrote_file()
    if json:
        say_json(result.to_dict() | {"file": str(path)})
    elif not quiet:
        say(f"{result.summary()}\nwritten   {path}")
