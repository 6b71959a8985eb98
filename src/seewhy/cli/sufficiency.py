"""`seewhy sufficiency`: how much of the picture suffices for the prediction?"""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.attribution.explain import explain
from seewhy.cli.hyperparameters import configured
from seewhy.cli.loading import load_all
from seewhy.cli.options import MODEL, RUN, ModelOptions, OneTarget, Output, RunOptions
from seewhy.cli.outputs import figure_path
from seewhy.cli.progress import progress
from seewhy.evaluation.sufficiency import check_class, checked_share, sufficiency_curve


def sufficiency(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    areas: str = "0.02,0.05,0.1,0.2,0.4",
    share: float = 0.5,
    target: OneTarget = None,
    algorithm: str = "exact-area",
    steps: int | None = None,
    output: Output = None,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> None:
    """Find the parts of given areas that best preserve the class, and measure its probability.

    Everything else is blurred. The figure shows the network's input and the probability as a
    function of the area. The precision applies to the optimisation; probabilities are measured in
    full precision.

    Parameters
    ----------
    pictures
        Picture files or folders; - reads one picture from standard input.
    areas
        Fractions of the picture, between 0 and 1, comma-separated.
    share
        The fraction of the probability that counts as sufficient, above 0 and at most 1.
    target
        A class by index or name; by default the most probable one.
    algorithm
        exact-area, or published: as in the paper, with eight times the steps and less of the
        probability preserved.
    steps
        Maximum number of optimisation steps; by default 100, or 800 for the published algorithm.
    output
        The file to write; its suffix selects the format: .png, .html, .json, .npz and others. By
        default dog.sufficiency.png in the current folder.
    """
    settings = [f"areas={areas}", f"algorithm={algorithm}"]
    settings += [] if steps is None else [f"steps={steps}"]
    method = configured("extremal-perturbation", None, settings)
    checked_share(share)
    path = figure_path(output, pictures, "sufficiency")
    loaded = load_all(pictures)
    opened = model.open()
    batch = opened.prepare(loaded)
    check_class(opened, batch, target)
    with progress(run.quiet) as tell:
        result = explain(
            opened, batch, method, target,
            progress=tell, **run.keywords,
        )  # fmt: skip
        curve = sufficiency_curve(opened, result, batch_size=run.batch_size)
    curve.save(path, share=share)
    if run.json:
        data = curve.to_dict(share=share) | {"file": str(path)}
        print(json.dumps(data, ensure_ascii=False, indent=2))
    elif not run.quiet:
        print(f"{curve.summary(share=share)}\nwritten   {path}")
