"""`seewhy explain`: one method on one picture, several, or a folder of them."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.attribution.explain import explain as explain_pictures
from seewhy.attribution.explanation import Explanation
from seewhy.attribution.explanation_view import readable
from seewhy.cli.hyperparameters import configured
from seewhy.cli.jobs import plan
from seewhy.cli.options import (
    MODEL,
    OUTPUT,
    RUN,
    TARGET,
    ModelOptions,
    OutputOptions,
    RunOptions,
    TargetOptions,
)
from seewhy.cli.outputs import unless_left_empty
from seewhy.cli.running import Task, Tell, run_all
from seewhy.images import Batch
from seewhy.models.model import Model


def explain(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    method: str = "grad-cam",
    layer: str | None = None,
    set_: Annotated[
        tuple[str, ...], Parameter(name=["--set", "-s"], negative=(), show_default=False)
    ] = (),
    to: OutputOptions = OUTPUT,
    target: TargetOptions = TARGET,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
    """Show what a model looked at.

    Parameters
    ----------
    pictures
        Picture files or folders; - reads one picture from standard input.
    method
        The name of a method; `seewhy methods` lists them.
    set_
        A hyperparameter of the method, as name=value; may be repeated. `seewhy methods NAME` lists
        the hyperparameters.
    layer
        The layer, for methods that read one. The default depends on the model and is reported.
    """
    chosen = configured(method, layer, set_)

    def compute(opened: Model, batch: Batch, tell: Tell) -> list[Explanation]:
        explanation = explain_pictures(
            opened, batch, chosen, target.value, progress=tell, **run.keywords
        )
        # Entries are ordered by target: every len(batch)-th is about the same picture.
        return [explanation[number :: len(batch)] for number in range(len(batch))]

    settings = {
        "method": chosen.name,
        "hyperparameters": {k: str(v) for k, v in chosen.parameters.items()},
        "target": str(target.value),
    }
    with unless_left_empty(to.output):
        to_do = plan(pictures, to, chosen.name, run.json)
        return run_all(Task(compute, settings, data=readable), to_do, model, run, to.resume)
