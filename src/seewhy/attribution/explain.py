"""`explain` and `compare`: run one or several attribution methods on pictures."""

import dataclasses
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

import seewhy.attribution.methods  # noqa: F401  registers the methods
from seewhy.attribution.explanation import Cost, Explanation, Panel, Provenance, joined
from seewhy.attribution.method import REGISTRY, Attribution, Method, as_method
from seewhy.engine.readable import why_unreadable
from seewhy.engine.recording import Recording, Request, recorded
from seewhy.errors import NotApplicable, SeewhyError, TooLarge
from seewhy.images import Batch
from seewhy.models.model import Model
from seewhy.support.batching import BatchSizer, out_of_memory
from seewhy.support.settings import Settings
from seewhy.targets.questions import deepest_layer, hidden_of, questions
from seewhy.targets.terms import Hidden, MultiTarget, TargetLike
from seewhy.version import __version__

Report = Callable[[str, float], None]  # (name of what runs now, fraction of all work done)


def explain(
    model: "Model | nn.Module | str",
    pictures: Any,
    method: "str | Method | type[Method]" = "grad-cam",
    target: TargetLike = None,
    *,
    seed: int = 0,
    precision: str = "full",
    batch_size: int | None = None,
    progress: Report | None = None,
    **parameters: Any,
) -> Explanation:
    """Explain the model's output for one or several pictures with one method.

    - `model`: a `Model`, a network, or a name for `open_model`.
    - `pictures`: a path, a Pillow image, an array, a tensor in [0, 1], or a sequence of those.
    - `method`: a name from `methods()`, or a configured method.
    - `target`: a class index or name, one for all pictures or one per picture; None: the most
      probable class. Also a hidden unit ("layer3:17"), a `total`, `difference` or `direction`, or
      `each` of several, with an entry per question and picture; see `seewhy.targets.terms`.
    - `precision`: "full" computes in the network's own dtype, "fast" in bfloat16.
    - `batch_size`: the largest number of pictures in one forward pass; None: chosen for the
      device. If memory runs out, it is reduced and `notes` say so.
    - `progress`: called with the name of what runs and the fraction of work done.
    - `parameters`: hyperparameters of the method, such as `layer="layer3"`.

    Raises SeewhyError with a one-line message for unknown names and invalid values, and its
    subclass NotApplicable if the method does not apply to the model.
    """
    chosen = as_method(method, **parameters)
    settings = Settings(seed, precision, batch_size)
    panel = _compared(as_model(model), pictures, [chosen], target, settings, progress, alone=True)
    for _, reason in panel.skipped:
        raise NotApplicable(reason)
    return panel.explanations[0]


def compare(
    model: "Model | nn.Module | str",
    pictures: Any,
    methods: "str | Method | type[Method] | Sequence[str | Method | type[Method]]" = "quick",
    target: TargetLike = None,
    *,
    layer: str | None = None,
    seed: int = 0,
    precision: str = "full",
    batch_size: int | None = None,
    progress: Report | None = None,
) -> Panel:
    """Explain the same output with several methods, which share one forward pass.

    `methods` is "all", "quick" (all that need at most a hundred forward passes per picture),
    comma-separated names, or a sequence. `layer` is passed to the methods that read a layer.
    Methods that do not apply to the model are listed in `skipped` with the reason. The other
    parameters are those of `explain`.
    """
    chosen = parse_methods(methods, layer)
    settings = Settings(seed, precision, batch_size)
    return _compared(as_model(model), pictures, chosen, target, settings, progress)


def methods() -> dict[str, type[Method]]:
    """Return every attribution method by name, in alphabetical order."""
    return dict(sorted(REGISTRY.items()))


def as_model(model: "Model | nn.Module | str") -> Model:
    """Return a `Model` for a `Model`, a network, or a name."""
    if isinstance(model, Model):
        return model
    if isinstance(model, str):
        from seewhy.sources import open_model

        return open_model(model)
    return Model(model)


def parse_methods(
    methods: "str | Method | type[Method] | Sequence[str | Method | type[Method]]",
    layer: str | None = None,
) -> list[Method]:
    """Return the methods given by "all", "quick", comma-separated names or a sequence, each once.

    `layer` is passed to the methods that read a layer.
    """
    if isinstance(methods, Method) or (isinstance(methods, type) and issubclass(methods, Method)):
        return parse_methods([methods], layer)
    if isinstance(methods, str) and methods in ("all", "quick"):
        in_sweeps = {name: method for name, method in REGISTRY.items() if method.in_sweeps}
        methods = sorted(n for n, m in in_sweeps.items() if methods == "all" or not m.costly)
    if isinstance(methods, str):
        methods = [m.strip() for m in methods.split(",") if m.strip()]
    if not isinstance(methods, Sequence):
        raise SeewhyError(f"methods must be names or a sequence of them, not {methods!r}")
    if not methods:
        raise SeewhyError(f"no methods named; write all, quick, or some of {', '.join(REGISTRY)}")
    chosen = list(dict.fromkeys(as_method(m) for m in methods))
    return [as_method(m, layer=layer) if m.reads_layer else m for m in chosen]


def _compared(
    model: Model,
    pictures: Any,
    methods: Sequence[Method],
    target: TargetLike,
    settings: Settings,
    report: Report | None,
    alone: bool = False,
) -> Panel:
    batch = pictures if isinstance(pictures, Batch) else model.prepare(pictures)
    if not len(batch):
        raise SeewhyError("no pictures to explain")
    model.choose_memory_format(batch.pixels)
    if model.mixes_pictures:
        settings = dataclasses.replace(settings, most=1)
    targets = questions(target, len(batch), model, batch.pixels)
    hidden = hidden_of([picture_target for question in targets for picture_target in question])
    sizer = BatchSizer(settings, batch.pixels, recorded=True, device=model.device, most=len(batch))
    too_large = TooLarge(model.name, *batch.pixels.shape[-2:])
    work = _Work(len(batch), len(targets), [0] * len(methods))
    failures: list[Exception] = []
    while work.left():
        part, todo = work.next(sizer.together)
        callbacks = _progress_callbacks(
            report, *work.progress(part, todo), len(targets) * len(todo)
        )
        part_targets = MultiTarget(tuple(question[part] for question in targets))
        selected = {i: methods[i] for i in todo}
        new: dict[int, list[Explanation]] = defaultdict(list)
        results = _explained(
            model, batch[part], selected, part_targets, hidden, settings, callbacks, alone
        )
        try:
            for i, result in results:
                if isinstance(result, Explanation):
                    new[i].append(result)
                else:
                    work.skipped[i] = result
        except Exception as error:
            memory_full = out_of_memory(error)
            if isinstance(error, SeewhyError):
                raise
            error = error if memory_full else _explained_error(error, model, batch[part])
            if alone and not memory_full:
                raise error
            if not sizer.shrink(error):
                work.give_up(todo, str(too_large) if memory_full else _reason(error))
                failures.append(too_large if memory_full else error)
        work.add(new, part.stop)
    if not work.parts and failures:
        raise failures[0]
    explanations = tuple(
        _in_order(work.parts.pop(i), sizer.note)  # free the parts as they are joined
        for i in sorted(work.parts)
        if i not in work.skipped
    )
    skipped = tuple((methods[i].name, why) for i, why in sorted(work.skipped.items()))
    return Panel(explanations, skipped)


@dataclass
class _Work:
    """The state of the work: methods may be at different pictures once memory has run out.

    - `pictures`, `questions`: their numbers. - `done`: the number of pictures that each method has
    explained. - `parts`: the explanations of each method and question. - `skipped`: the methods
    without explanations, with the reason. - `alone`: whether methods have to run one by one.
    """

    pictures: int
    questions: int
    done: list[int]
    parts: dict[int, dict[int, list[Explanation]]] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)
    alone: bool = False

    def left(self) -> list[int]:
        """Return the methods that have pictures left to explain."""
        unfinished = [i for i, done in enumerate(self.done) if done < self.pictures]
        return [i for i in unfinished if i not in self.skipped]

    def next(self, most: int) -> tuple[slice, list[int]]:
        """Return the next pictures, up to `most`, and the methods to explain them with."""
        start = min(self.done[i] for i in self.left())
        todo = [i for i in self.left() if self.done[i] == start]
        # Stop where other methods already are, so that all continue together from there.
        ends = [done for done in self.done if done > start]
        part = slice(start, min(start + most, self.pictures, *ends))
        return part, todo[:1] if self.alone else todo

    def progress(self, part: slice, todo: Sequence[int]) -> tuple[float, float]:
        """Return the fraction of all work done, and the fraction of these pictures and methods."""
        total = self.pictures * len(self.done)
        done = sum(self.pictures if i in self.skipped else n for i, n in enumerate(self.done))
        return done / total, len(todo) * (part.stop - part.start) / total

    def add(self, new: dict[int, list[Explanation]], stop: int) -> None:
        """Keep the explanations, up to picture `stop`, of methods that answered all questions."""
        for i, explanations in new.items():
            if len(explanations) < self.questions:
                continue
            self.done[i] = stop
            parts = self.parts.setdefault(i, defaultdict(list))
            for number, explanation in enumerate(explanations):
                parts[number].append(explanation)

    def give_up(self, todo: Sequence[int], reason: str) -> None:
        """After a failure, run the methods one by one from now on, or skip a single method."""
        if len(todo) > 1:
            self.alone = True
        else:
            self.skipped[todo[0]] = reason


def _explained(
    model: Model,
    batch: Batch,
    methods: dict[int, Method],
    targets: MultiTarget,
    hidden: Collection[Hidden],
    settings: Settings,
    callbacks: Callable[[int, str], Callable[[int, int], None]],
    alone: bool,
) -> Iterator[tuple[int, Explanation | str]]:
    """Yield (method index, explanation or reason why there is none), question by question.

    All methods share one forward pass. If a method fails, the others continue, unless it is
    `alone`: then its error is raised.
    """
    applicable: dict[int, Method] = {}
    requests: list[Request] = []
    for i, method in methods.items():
        try:
            configured = _with_layer(method, hidden, model, batch.pixels)
            requests += configured.requires(model, batch.pixels)
            applicable[i] = configured
        except NotApplicable as reason:
            yield i, str(reason)
    start = time.perf_counter()
    unique = list(dict.fromkeys(requests))
    with recorded(model, batch.pixels, unique, targets, settings) as recording:
        _check_finite(model, recording, batch)
        shared_seconds = time.perf_counter() - start
        for number in range(len(targets.targets)):
            recording = recording.about(number)
            first_step = number * len(methods)
            for step, (i, method) in enumerate(list(applicable.items()), start=first_step):
                progress = callbacks(step, method.name)
                recording = recording.anew(dataclasses.replace(settings, progress=progress))
                start = time.perf_counter()
                try:
                    attribution = method.attribute(recording)
                    _refuse_nothing_finite(method, attribution, batch)
                    if recording.cost.backwards:
                        _refuse_unreadable(attribution, model, batch)
                except Exception as error:
                    if out_of_memory(error):
                        raise
                    error = _explained_error(error, model, batch)
                    if alone and not isinstance(error, NotApplicable):
                        raise
                    del applicable[i]
                    yield i, _reason(error)
                    continue
                cost = Cost(
                    forwards=recording.cost.forwards,
                    backwards=recording.cost.backwards,
                    # The shared time is counted once, for the first question.
                    seconds=(0 if number else shared_seconds) + time.perf_counter() - start,
                    shared=recording.cost.shared,
                )
                yield i, _explanation(methods[i], recording, attribution, batch, cost)


def _assumptions(model: Model) -> list[str]:
    """What was assumed about the network's pictures and outputs."""
    notes = list(model.assumed)
    if model.ends_in is not None:
        notes.append(f"the network ends in a {model.ends_in}; the logits before it are explained")
    elif model.outputs == "probabilities":
        notes.append("the network puts out probabilities; they are explained as they are")
    if model.mixes_pictures:
        notes.append(
            "the network's logits for a picture depend on the other pictures in its batch; "
            "pictures are explained one by one"
        )
    return notes


def _refuse_unreadable(attribution: Attribution, model: Model, batch: Batch) -> None:
    """Raise NotApplicable if the map is zero everywhere because the network has no gradient."""
    if not bool(attribution.heatmap.any()):
        reason = why_unreadable(model, batch.pixels)
        if reason:
            raise NotApplicable(reason)


def _refuse_nothing_finite(method: Method, attribution: Attribution, batch: Batch) -> None:
    """Raise SeewhyError if a picture's map holds no number at all, only NaN and infinities."""
    nothing = ~attribution.heatmap.isfinite().flatten(1).any(1)
    if bool(nothing.any()):
        source = batch.pictures[int(nothing.nonzero()[0])].source
        raise SeewhyError(
            f"{method.name} gives NaN or infinity for every pixel of {source}; use less extreme "
            "parameters, precision 'full', or a method that needs no gradient (occlusion, rise)"
        )


def _explained_error(error: Exception, model: Model, batch: Batch) -> Exception:
    """Return the error, or NotApplicable if the cause is that the network has no gradient.

    Of the methods' own errors, only those that say "does not depend on" are checked.
    """
    if isinstance(error, SeewhyError) and "does not depend on" not in str(error):
        return error
    reason = why_unreadable(model, batch.pixels)
    return NotApplicable(reason) if reason else error


def _reason(error: Exception) -> str:
    """Return the reason why a method has no map, in one line."""
    if isinstance(error, SeewhyError):
        return str(error)
    message = " ".join(str(error).split())
    return f"failed with {type(error).__name__}: {message} (run it alone for the traceback)"


def _in_order(parts: dict[int, list[Explanation]], note: str | None) -> Explanation:
    """Join the parts of one method's explanation, question by question, and add the note."""
    explanation = joined([part for number in sorted(parts) for part in parts[number]])
    if not note:
        return explanation
    return dataclasses.replace(explanation, notes=(*explanation.notes, note))


def _with_layer(method: Method, hidden: Collection[Hidden], model: Model, pixels: Tensor) -> Method:
    """Return the method; an automatic layer is replaced by one that all of `hidden` depend on."""
    if not hidden or not method.reads_layer or method.parameters["layer"] is not None:
        return method
    return as_method(method, layer=deepest_layer(hidden, model.layer_graph(pixels)))


def _explanation(
    method: Method, recording: Recording, attribution: Attribution, batch: Batch, cost: Cost
) -> Explanation:
    size = recording.pixels.shape[-2:]
    layer_given = method.parameters.get("layer") is not None
    provenance = Provenance(
        model=recording.model.name,
        method=method.name,
        parameters=method.parameters,
        layer=attribution.layer,
        layer_chosen=attribution.layer is not None and not layer_given,
        seed=recording.settings.seed if method.random else None,
        precision=recording.settings.precision,
        device=str(recording.model.device),
        versions={
            "seewhy": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        question=method.question,
        edits=tuple(str(address) for edits in recording.model.edits for address, _ in edits),
    )
    return Explanation(
        heatmap=_upsampled(attribution.heatmap, (size[0], size[1])).cpu(),
        attribution=attribution.values.detach().cpu(),
        batch=batch,
        target=recording.target.cpu(),
        score=recording.score.cpu(),
        logits=recording.logits.cpu(),
        classes=recording.model.classes,
        provenance=provenance,
        signed=method.signed,
        cost=cost,
        residual=None if attribution.residual is None else attribution.residual.detach().cpu(),
        constants=None if attribution.constants is None else attribution.constants.detach().cpu(),
        notes=(*attribution.notes, *recording.notes, *_assumptions(recording.model)),
        labels=recording.asked.labels,
        outputs=recording.model.outputs,
    )


def _upsampled(
    heatmap: Float[Tensor, "batch h w"], size: tuple[int, int]
) -> Float[Tensor, "batch height width"]:
    """Interpolate bilinearly to the resolution of the model's input."""
    heatmap = heatmap.detach().float()
    if heatmap.shape[-2:] == size:
        return heatmap
    return F.interpolate(heatmap[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _progress_callbacks(
    report: Report | None, start: float, share: float, count: int
) -> Callable[[int, str], Callable[[int, int], None]]:
    """Return a function that makes the progress callback of step `number` of `count`.

    The steps together are the fraction `share` of all work, after the fraction `start`.
    """

    def callback(number: int, name: str) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            if report:
                report(name, start + share * (number + done / total) / count)

        progress(0, 1)
        return progress

    return callback


def _check_finite(model: Model, recording: Recording, batch: Batch) -> None:
    not_finite = (~recording.logits.isfinite()).any(1).nonzero()
    if not len(not_finite):
        return
    for name, value in model.net.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise SeewhyError(
                f"{model.name} has NaN or infinite weights in {name}; load valid weights"
            )
    source = batch.pictures[int(not_finite[0])].source
    raise SeewhyError(
        f"{model.name} returned NaN or infinite logits for {source}; check its forward pass"
    )
