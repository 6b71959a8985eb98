"""Does this tool read my network correctly? One table, before a map is trusted.

    check = seewhy.selfcheck(model, "dog.jpg")
    check                       # the table
    check.ok                    # whether nothing differs
    check["lrp-epsilon"].value  # the residual at the pixels

What is checked: a picture has the same logits and gradient alone and in a batch; the gradient is
the slope of the score; what runs for speed equals the plain network; the sums that LRP, DeepLIFT,
FullGrad and integrated gradients promise; where the cells of the default layer lie; what is
assumed of inputs and outputs; which methods apply; and that the network is left as it was.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from seewhy.attribution.explain import Report, as_model
from seewhy.errors import SeewhyError, Unknown, UserCodeError
from seewhy.evaluation.checks.assumptions import assumptions
from seewhy.evaluation.checks.batches import batch_equals_single
from seewhy.evaluation.checks.cells import cells_follow_the_picture
from seewhy.evaluation.checks.check import DIFFERS, NOT_APPLICABLE, OK, Check, not_applicable
from seewhy.evaluation.checks.fast_paths import fast_equals_plain
from seewhy.evaluation.checks.methods import methods_and_sums
from seewhy.evaluation.checks.slopes import gradient_is_slope
from seewhy.evaluation.checks.state import Snapshot
from seewhy.evaluation.checks.subject import Subject
from seewhy.images import Batch
from seewhy.models.class_names import class_name
from seewhy.models.model import DEFAULT_SIZE, Model
from seewhy.results import Result
from seewhy.scenes import examples, render
from seewhy.support.batching import out_of_memory

ROOM = "a rendered room, as no picture was given"

# In this order; what each is called while it runs, and if it fails.
CHECKS: dict[str, Callable[[Subject], list[Check]]] = {
    "assumed": assumptions,
    "batch": batch_equals_single,
    "gradient": gradient_is_slope,
    "speed": fast_equals_plain,
    "layer": cells_follow_the_picture,
    "methods": methods_and_sums,
}


@dataclass(frozen=True, eq=False, repr=False)
class SelfCheck(Result):
    """What was checked of a network, row by row.

    - `model`, `picture`: their names. `size`: height and width of the network's input.
    - `target`: the class whose logit is the score. `checks`: the rows. `seconds`: the time taken.
    """

    model: str
    picture: str
    size: tuple[int, int]
    target: str
    checks: tuple[Check, ...]
    seconds: float

    def __len__(self) -> int:
        return len(self.checks)

    def __getitem__(self, name: str) -> Check:
        """The first row whose name starts with `name`; raises Unknown with the nearest names."""
        for check in self.checks:
            if check.name.startswith(name):
                return check
        raise Unknown("check", name, [check.name for check in self.checks])

    @property
    def ok(self) -> bool:
        """Whether no row differs."""
        return not self.differing

    @property
    def differing(self) -> tuple[Check, ...]:
        """The rows where the network is not read correctly."""
        return self._with(DIFFERS)

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows with each verdict."""
        return {verdict: len(self._with(verdict)) for verdict in (OK, DIFFERS, NOT_APPLICABLE)}

    def _with(self, verdict: str) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.verdict == verdict)


def selfcheck(
    model: "Model | nn.Module | str", picture: Any = None, *, progress: Report | None = None
) -> SelfCheck:
    """Check whether a network is read correctly, on one picture.

    - `model`: a `Model`, a network, or a name for `open_model`.
    - `picture`: a path, PIL picture, array or tensor in [0, 1]; None: a rendered room.
    - `progress`: called with what runs and the share that is done.

    What is explained is the logit of the most probable class. The network's own errors are raised;
    all that a check finds, also an error in a batch or a backward pass, becomes a row.
    """
    opened = as_model(model)
    batch, source = _prepared(opened, picture)
    if len(batch) != 1:
        raise SeewhyError(f"selfcheck() takes one picture, got {len(batch)}")
    started, before = time.perf_counter(), Snapshot(opened.net)
    subject = Subject.of(opened, batch.pixels)
    rows: list[Check] = []
    for number, (topic, run) in enumerate(CHECKS.items()):
        if progress:
            progress(topic, number / len(CHECKS))
        rows += _rows(topic, run, subject)
    rows += before.compare()
    height, width = batch.pixels.shape[-2:]
    return SelfCheck(
        model=opened.name,
        picture=source,
        size=(height, width),
        target=class_name(subject.target, opened.classes),
        checks=tuple(rows),
        seconds=time.perf_counter() - started,
    )


def _rows(topic: str, run: Callable[[Subject], list[Check]], subject: Subject) -> list[Check]:
    """The rows of one topic; one that says why, if it cannot be checked."""
    try:
        return run(subject)
    except UserCodeError as error:
        return [Check(topic, topic, "", DIFFERS, None, "", str(error))]
    except SeewhyError as error:
        return [not_applicable(topic, topic, "", str(error))]
    except Exception as error:
        if out_of_memory(error):
            reason = "memory ran out; use a smaller picture or another device"
            return [not_applicable(topic, topic, "", reason)]
        reason = f"failed with {type(error).__name__}: {' '.join(str(error).split())}"
        return [Check(topic, topic, "", DIFFERS, None, "", reason)]


def _prepared(model: Model, picture: Any) -> tuple[Batch, str]:
    """The picture as the model takes it, and where it came from."""
    if picture is None:
        (_, factors), *_ = examples(1)
        side = max(model.preparation.size or DEFAULT_SIZE)
        return model.prepare(render(factors, side).pixels[0]), ROOM
    batch = picture if isinstance(picture, Batch) else model.prepare(picture)
    return batch, batch.pictures[0].source if len(batch) else ""
