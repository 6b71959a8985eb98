"""`seewhy examples`: photographs over the whole range of a unit's activation."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.activations.examples import examples as find_examples
from seewhy.cli.jobs import pictures_of
from seewhy.cli.options import MODEL, RUN, ModelOptions, Output, RunOptions
from seewhy.cli.outputs import check_suffix, check_writable, harmless_name
from seewhy.cli.printing import say, say_json, warn, wrote_file
from seewhy.cli.progress import progress
from seewhy.results import SUFFIXES


def examples(
    unit: str,
    /,
    *,
    images: Annotated[list[Path], Parameter(consume_multiple=True)],
    each: int = 4,
    output: Output = None,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
    """Show photographs that activate a unit most, at quantiles, and least.

    Parameters
    ----------
    unit
        A channel such as layer3:17. `seewhy layers` lists the layers.
    images
        Photographs, or folders of them.
    each
        The number of photographs in each group.
    output
        The file to write, whose suffix selects the format; by default layer3_17.examples.png.
    """
    path = output or Path(f"{harmless_name(unit)}.examples.png")
    check_writable(check_suffix(path, SUFFIXES))
    files = pictures_of(images)
    opened = model.open()
    with progress(run.quiet) as tell:
        result = find_examples(
            opened, unit, files, each=each,
            precision=run.precision, batch_size=run.batch_size, progress=tell,
        )  # fmt: skip
    result.save(path)
    wrote_file()
    if run.json:
        say_json(result.to_dict() | {"file": str(path)})
    elif not run.quiet:
        say(f"{result.summary()}\nwritten   {path}")
    for reason in result.left_out:
        warn(f"skipped: {reason}")
    return 2 if result.left_out else 0
