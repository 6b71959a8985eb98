"""`explain` and `compare`: pictures and methods in, explanations out."""

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

import seewhy.attribution.methods  # noqa: F401  fills the registry
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

Report = Callable[[str, float], None]  # (what runs now, share of all that is done)


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
    """Explain the model's answer on one or several pictures with one method.

    - `model`: a `Model`, a network, or a name for `open_model`.
    - `pictures`: a path, PIL picture, array, tensor in [0, 1], or a sequence of those.
    - `method`: a name of `methods()`, or a configured method.
    - `target`: class index or name, one for all pictures or one each; None: the most probable.
      Also a hidden unit ("layer3:17"), a `total`, `difference` or `direction`, or `each` of
      several, with an entry for each question and picture; see `seewhy.targets.terms`.
    - `precision`: "full" computes in the network's own type, "fast" in bfloat16.
    - `batch_size`: the most pictures in one forward; None: chosen for the device. Where
      memory runs out it goes on with fewer, and `notes` say so.
    - `progress`: called with what runs and the share that is done.
    - `parameters`: hyperparameters of the method, such as `layer="layer3"`.

    Raises SeewhyError, in one line, for what does not exist or does not fit, and its subclass
    NotApplicable where the method has no meaning for the model.
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
    """Explain the same answer with several methods, which share one forward.

    `methods` is "all", "quick" (all that need no more than a hundred forwards a picture), names
    with commas between them, or a sequence. `layer` goes to the methods that read one. A method
    that does not apply to the model is listed in `skipped` with the reason. The other parameters
    are those of `explain`.
    """
    chosen = parse_methods(methods, layer)
    settings = Settings(seed, precision, batch_size)
    return _compared(as_model(model), pictures, chosen, target, settings, progress)


def methods() -> dict[str, type[Method]]:
    """Every attribution method by name, in alphabetical order."""
    return dict(sorted(REGISTRY.items()))


def as_model(model: "Model | nn.Module | str") -> Model:
    """A `Model` from itself, a network, or a name."""
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
    """The methods that "all", "quick", names with commas, or a sequence stand for, each once.

    `layer` goes to those that read one.
    """
    if isinstance(methods, Method) or (isinstance(methods, type) and issubclass(methods, Method)):
        return parse_methods([methods], layer)
    if methods in ("all", "quick"):
        swept = {name: method for name, method in REGISTRY.items() if method.in_sweeps}
        methods = sorted(n for n, m in swept.items() if methods == "all" or not m.costly)
    if isinstance(methods, str):
        methods = [m.strip() for m in methods.split(",") if m.strip()]
    if not methods:
        raise SeewhyError(f"no methods named; write all, quick, or some of {', '.join(REGISTRY)}")
    chosen = [as_method(m) for m in dict.fromkeys(methods)]
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
    asked = questions(target, len(batch), model, batch.pixels)
    hidden = hidden_of([one for question in asked for one in question])
    sizer = BatchSizer(settings, batch.pixels, recorded=True, device=model.device, most=len(batch))
    too_large = TooLarge(model.name, *batch.pixels.shape[-2:])
    work = _Work(len(batch), len(asked), [0] * len(methods))
    failures: list[Exception] = []
    while work.left():
        some, todo = work.next(sizer.together)
        tell = _telling(report, *work.progress(some, todo), len(asked) * len(todo))
        about = MultiTarget(tuple(question[some] for question in asked))
        named = {i: methods[i] for i in todo}
        new: dict[int, list[Explanation]] = defaultdict(list)
        results = _explained(model, batch[some], named, about, hidden, settings, tell, alone)
        try:
            for i, result in results:
                if isinstance(result, Explanation):
                    new[i].append(result)
                else:
                    work.skipped[i] = result
        except Exception as error:
            full = out_of_memory(error)
            if isinstance(error, SeewhyError):
                raise
            error = error if full else _explained_error(error, model, batch[some])
            if alone and not full:
                raise error
            if not sizer.shrink(error):
                work.give_up(todo, str(too_large) if full else _reason(error))
                failures.append(too_large if full else error)
        work.add(new, some.stop)
    if not work.parts and failures:
        raise failures[0]
    explanations = tuple(
        _in_order(work.parts.pop(i), sizer.note)  # let go of the parts as they are joined
        for i in sorted(work.parts)
        if i not in work.skipped
    )
    skipped = tuple((methods[i].name, why) for i, why in sorted(work.skipped.items()))
    return Panel(explanations, skipped)


@dataclass
class _Work:
    """What of the work is done: methods may be at different pictures once memory has run out.

    - `pictures`, `questions`: how many. - `done`: of each method, the pictures that it has
    explained. - `parts`: of each method and question, the answers. - `skipped`: methods that give
    none, and why. - `alone`: whether methods have to run one by one.
    """

    pictures: int
    questions: int
    done: list[int]
    parts: dict[int, dict[int, list[Explanation]]] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)
    alone: bool = False

    def left(self) -> list[int]:
        """The methods that have pictures before them."""
        unfinished = [i for i, done in enumerate(self.done) if done < self.pictures]
        return [i for i in unfinished if i not in self.skipped]

    def next(self, most: int) -> tuple[slice, list[int]]:
        """Pictures, at most so many, and the methods to explain them with."""
        start = min(self.done[i] for i in self.left())
        todo = [i for i in self.left() if self.done[i] == start]
        # Not past where others are, so that all go on together from there.
        ends = [done for done in self.done if done > start]
        some = slice(start, min(start + most, self.pictures, *ends))
        return some, todo[:1] if self.alone else todo

    def progress(self, some: slice, todo: Sequence[int]) -> tuple[float, float]:
        """The share of all work that is done, and that of these pictures and methods."""
        whole = self.pictures * len(self.done)
        done = sum(self.pictures if i in self.skipped else n for i, n in enumerate(self.done))
        return done / whole, len(todo) * (some.stop - some.start) / whole

    def add(self, new: dict[int, list[Explanation]], stop: int) -> None:
        """Keep what methods say that have answered all questions, about pictures up to `stop`."""
        for i, answers in new.items():
            if len(answers) < self.questions:
                continue
            self.done[i] = stop
            parts = self.parts.setdefault(i, defaultdict(list))
            for number, answer in enumerate(answers):
                parts[number].append(answer)

    def give_up(self, todo: Sequence[int], why: str) -> None:
        """These methods fail together: try each alone, or skip the one that is."""
        if len(todo) > 1:
            self.alone = True
        else:
            self.skipped[todo[0]] = why


def _explained(
    model: Model,
    batch: Batch,
    methods: dict[int, Method],
    about: MultiTarget,
    hidden: Collection[Hidden],
    settings: Settings,
    tell: Callable[[int, str], Callable[[int, int], None]],
    alone: bool,
) -> Iterator[tuple[int, Explanation | str]]:
    """Each method's answer to each question about one batch, or the reason why there is none.

    Comes as (which method, answer), question by question; all draw on one forward. A method that
    fails does not take others with it, unless it is `alone`: then its error is raised.
    """
    able: dict[int, Method] = {}
    requests: list[Request] = []
    for i, method in methods.items():
        try:
            fitted = _before(hidden, method, model, batch.pixels)
            requests += fitted.requires(model, batch.pixels)
            able[i] = fitted
        except NotApplicable as reason:
            yield i, str(reason)
    started = time.perf_counter()
    wanted = list(dict.fromkeys(requests))
    with recorded(model, batch.pixels, wanted, about, settings) as recording:
        _check_finite(model, recording, batch)
        shared = time.perf_counter() - started
        for number in range(len(about.targets)):
            recording = recording.about(number)
            for place, (i, method) in enumerate(list(able.items()), start=number * len(methods)):
                progress = tell(place, method.name)
                recording = recording.anew(dataclasses.replace(settings, progress=progress))
                begun = time.perf_counter()
                try:
                    attribution = method.attribute(recording)
                    if recording.cost.backwards:
                        _refuse_unreadable(attribution, model, batch)
                except Exception as error:
                    if out_of_memory(error):
                        raise
                    error = _explained_error(error, model, batch)
                    if alone and not isinstance(error, NotApplicable):
                        raise
                    del able[i]
                    yield i, _reason(error)
                    continue
                cost = Cost(
                    forwards=recording.cost.forwards,
                    backwards=recording.cost.backwards,
                    # What is shared is spent once, however many questions there are.
                    seconds=(0 if number else shared) + time.perf_counter() - begun,
                    shared=recording.cost.shared,
                )
                yield i, _explanation(methods[i], recording, attribution, batch, cost)


def _about_outputs(model: Model) -> list[str]:
    """What to say of a network that ends in a softmax or sigmoid."""
    if model.ends_in is None:
        return []
    return [f"the network ends in a {model.ends_in}; the logits before it are explained"]


def _refuse_unreadable(attribution: Attribution, model: Model, batch: Batch) -> None:
    """Refuse a map that is zero everywhere because the network has no gradient."""
    if not bool(attribution.heatmap.any()):
        reason = why_unreadable(model, batch.pixels)
        if reason:
            raise NotApplicable(reason)


def _explained_error(error: Exception, model: Model, batch: Batch) -> Exception:
    """The error, or the reason why the network cannot be differentiated, where that is the cause.

    Of a method's own errors, only those that say that nothing depends on anything are questioned.
    """
    if isinstance(error, SeewhyError) and "does not depend on" not in str(error):
        return error
    reason = why_unreadable(model, batch.pixels)
    return NotApplicable(reason) if reason else error


def _reason(error: Exception) -> str:
    """Why a method gives no map, in one line."""
    if isinstance(error, SeewhyError):
        return str(error)
    said = " ".join(str(error).split())
    return f"failed with {type(error).__name__}: {said} (run it alone for the traceback)"


def _in_order(parts: dict[int, list[Explanation]], note: str | None) -> Explanation:
    """The parts of one method's answer, question by question."""
    whole = joined([part for number in sorted(parts) for part in parts[number]])
    return dataclasses.replace(whole, notes=(*whole.notes, note)) if note else whole


def _before(hidden: Collection[Hidden], method: Method, model: Model, pixels: Tensor) -> Method:
    """The method; where it would find a layer for itself, with one that `hidden` depend on."""
    if not hidden or not method.reads_layer or method.parameters["layer"] is not None:
        return method
    return as_method(method, layer=deepest_layer(hidden, model.layer_graph(pixels)))


def _explanation(
    method: Method, recording: Recording, attribution: Attribution, batch: Batch, cost: Cost
) -> Explanation:
    size = recording.pixels.shape[-2:]
    layer_asked = method.parameters.get("layer") is not None
    provenance = Provenance(
        model=recording.model.name,
        method=method.name,
        parameters=method.parameters,
        layer=attribution.layer,
        layer_chosen=attribution.layer is not None and not layer_asked,
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
        notes=(*attribution.notes, *recording.notes, *_about_outputs(recording.model)),
        labels=recording.asked.labels,
        raw=recording.model.outputs == "scores",
    )


def _upsampled(
    heatmap: Float[Tensor, "batch h w"], size: tuple[int, int]
) -> Float[Tensor, "batch height width"]:
    """Bilinear, to the grid of the model's input."""
    heatmap = heatmap.detach().float()
    if heatmap.shape[-2:] == size:
        return heatmap
    return F.interpolate(heatmap[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _telling(
    report: Report | None, start: float, share: float, count: int
) -> Callable[[int, str], Callable[[int, int], None]]:
    """For each method, a progress callback that knows its place in the whole."""

    def for_method(number: int, name: str) -> Callable[[int, int], None]:
        def tell(done: int, of: int) -> None:
            if report:
                report(name, start + share * (number + done / of) / count)

        tell(0, 1)
        return tell

    return for_method


def _check_finite(model: Model, recording: Recording, batch: Batch) -> None:
    bad = (~recording.logits.isfinite()).any(1).nonzero()
    if not len(bad):
        return
    for name, value in model.net.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise SeewhyError(
                f"{model.name} has NaN or infinite weights in {name}; load sound ones"
            )
    source = batch.pictures[int(bad[0])].source
    raise SeewhyError(f"{model.name} puts out NaN or infinite logits for {source}")
