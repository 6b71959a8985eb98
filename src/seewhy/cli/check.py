"""`seewhy check`: is the network read correctly?"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.loading import load
from seewhy.cli.options import MODEL, SWITCH, ModelOptions, Output
from seewhy.cli.outputs import check_suffix, check_writable
from seewhy.cli.printing import say, say_json, wrote_file
from seewhy.cli.progress import progress
from seewhy.evaluation.selfcheck import selfcheck
from seewhy.results import SUFFIXES


def check(
    picture: Path | None = None,
    /,
    *,
    output: Output = None,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"]), SWITCH] = False,
    as_json: Annotated[bool, Parameter(name="--json"), SWITCH] = False,
    model: ModelOptions = MODEL,
) -> int:
    """Check whether a network is read correctly, before any map of it is trusted.

    Prints a table: a picture alone and in a batch, the gradient and finite
    differences, what runs for speed and the plain network, the sums that methods promise, the cells
    of the default layer, which methods apply, and what is assumed. The exit status is 1 if a row
    differs.

    Parameters
    ----------
    picture
        A picture file; - reads it from standard input. By default a rendered room.
    output
        A file to write the table to, by suffix: .png, .html, .json, .npz and others.
    quiet
        Print no progress bar and no table.
    as_json
        Print JSON.
    """
    if output is not None:
        check_writable(check_suffix(output, SUFFIXES))
    loaded = None if picture is None else load(picture)
    opened = model.open()
    with progress(quiet) as tell:
        result = selfcheck(opened, loaded, progress=tell)
    if output is not None:
        result.save(output)
        wrote_file()
    if as_json:
        say_json(result.to_dict())
    elif not quiet:
        say(result.summary())
    return 0 if result.ok else 1
