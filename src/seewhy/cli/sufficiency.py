"""`seewhy sufficiency`: how much of the picture suffices for the prediction?"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.attribution.explain import explain
from seewhy.cli.hyperparameters import configured
from seewhy.cli.options import (
    MODEL,
    OUTPUT,
    RUN,
    ModelOptions,
    OneTarget,
    OutputOptions,
    RunOptions,
)
from seewhy.cli.running import Task, Tell, one_by_one
from seewhy.cli.together import run_together
from seewhy.evaluation.sufficiency import (
    SufficiencyCurve,
    check_class,
    checked_share,
    sufficiency_curve,
)
from seewhy.images import Batch
from seewhy.models.model import Model


def sufficiency(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    areas: str = "0.02,0.05,0.1,0.2,0.4",
    share: float = 0.5,
    target: OneTarget = None,
    algorithm: str = "exact-area",
    steps: int | None = None,
    to: OutputOptions = OUTPUT,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
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
    """
    settings = [f"areas={areas}", f"algorithm={algorithm}"]
    settings += [] if steps is None else [f"steps={steps}"]
    method = configured("extremal-perturbation", None, settings)
    checked_share(share)

    def compute(opened: Model, batch: Batch, tell: Tell) -> SufficiencyCurve:
        check_class(opened, batch, target)
        result = explain(opened, batch, method, target, progress=tell, **run.keywords)
        return sufficiency_curve(opened, result, batch_size=run.batch_size)

    values = {k: str(v) for k, v in method.parameters.items()}
    task_settings = {"hyperparameters": values, "target": target, "share": share}
    task = Task(
        one_by_one(compute), task_settings,
        summary=lambda curve: curve.summary(share=share),
        data=lambda curve: curve.to_dict(share=share),
        saving={"share": share},
    )  # fmt: skip
    return run_together("sufficiency", compute, task_settings, pictures, to, model, run, task=task)
