"""What does it want to see? Pictures that activate a unit, a direction or a class most.

    result = seewhy.visualize(model, "layer3:17")
    seewhy.visualize(model, ["beagle", "layer3:17 - 0.5*layer3:4"], images="photographs/")

Erhan et al. 2009, Visualizing Higher-Layer Features of a Deep Network; Olah, Mordvintsev, Schubert
2017, doi 10.23915/distill.00007.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seewhy.errors import SeewhyError, Unknown
from seewhy.models.model import Model
from seewhy.results import Result
from seewhy.sources import open_model
from seewhy.support.settings import LARGEST_SEED, Settings
from seewhy.synthesis.constraints import Constraint
from seewhy.synthesis.evidence import (
    Natural,
    natural_scores,
    resized,
    scores_of,
    seen_as_class,
    unseen_views,
)
from seewhy.synthesis.objective import Objective
from seewhy.synthesis.parametrisations import Parametrisation
from seewhy.synthesis.parametrisations import parametrisation as parametrisation_of
from seewhy.synthesis.penalties import Nearness, Penalty
from seewhy.synthesis.solver import Recipe, Solution, solve
from seewhy.synthesis.statistics import agreement, halfway, unlike_photographs
from seewhy.synthesis.transforms import SETS, Transforms
from seewhy.synthesis.transparency import Transparent, over
from seewhy.targets.questions import questions
from seewhy.targets.representations import diversity as diverse
from seewhy.targets.terms import Hidden, Logit, Target, TargetLike, terms

SIDE = 128  # of a picture, by default
LARGE = 160  # the smallest side at which strong transforms leave enough of a picture
FARTHEST = 997  # seeds of restarts are this far apart

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False, repr=False)
class Visualization(Result):
    """Pictures that maximise a target, and evidence of what they mean.

    - `pictures`: in [0, 1]; the restarts of a target follow one another. - `targets`: the name of
    each picture's target. - `score`: the target's score of each picture. - `unseen`: the mean score
    under transforms that the optimisation did not use. - `natural`: the scores of photographs, by
    target; None if none were given. - `seen`: whether the network has the class among its five most
    probable ones, under those transforms; None where the target is no class. - `judged`: the same
    for the network `judge`. - `agreement`: the mean cosine with the target's pictures from other
    seeds, in the features of the target's layer; None without restarts. - `unlike`: the
    distance of the sorted activations of an intermediate layer from those of photographs, where 1
    is as far as a photograph; None without photographs. - `steps`: the number of steps of each
    picture. - `transparent`: whether the last channel of the pictures is their alpha channel.
    """

    pictures: Float[Tensor, "count c h w"]
    targets: tuple[str, ...]
    score: Float[Tensor, " count"]
    unseen: Float[Tensor, " count"]
    steps: Int[Tensor, " count"]
    model: str
    recipe: str
    seeds: tuple[int, ...]
    natural: Natural | None = None
    seen: tuple[bool | None, ...] | None = None
    judged: tuple[bool | None, ...] | None = None
    judge: str = ""
    agreement: Float[Tensor, " count"] | None = None
    unlike: Float[Tensor, " count"] | None = None
    transparent: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def exceeds(self) -> Float[Tensor, " count"] | None:
        """The fraction of photographs that score lower than each picture does when transformed."""
        return None if self.natural is None else self.natural.share_below(self.unseen)


def visualize(
    model: Model | nn.Module | str,
    target: TargetLike,
    *,
    size: int | tuple[int, int] | None = None,
    parametrisation: str | Parametrisation = "fourier",
    transforms: str | Transforms | None = None,
    penalties: Sequence[Penalty] = (),
    constraints: Sequence[Constraint] = (),
    steps: int = 256,
    tolerance: float = 0.0,
    rate: float | None = None,
    transparent: bool = False,
    restarts: int = 1,
    diversity: float = 0.0,
    start: Any = None,
    nearness: float = 0.0,
    images: Any = None,
    judge: Model | nn.Module | str | None = None,
    seed: int = 0,
    precision: str = "full",
    batch_size: int | None = None,
    progress: Report | None = None,
) -> Visualization:
    """Make pictures that maximise a target, or one picture for each of several targets.

    - `target`: a class, a unit such as "layer3:17", a sum or any other target (see
      `seewhy.targets`), or a sequence of them.
    - `size`: the side, or height and width, of the pictures; by default 128 for units, or the size
      of the model's input if that is smaller, and for classes; or the only size that it takes.
    - `parametrisation`: "fourier", "phase", "pixels", or a configured one.
    - `transforms`: "robust" (jitter, scale, rotation; the default for units), "strong" (larger
      ones and noise; the default for large pictures of classes), "crops", "none", or configured
      ones.
    - `transparent`: add an alpha channel; what does not matter becomes transparent.
    - `restarts`: the number of pictures of each target, from different seeds.
    - `diversity`: the weight of the difference between the restarts of a target: minus the cosine
    of their Gram matrices, in units of the target's score.
    - `start`: a picture to start from, and `nearness`: the weight of the squared distance from it.
    - `images`: photographs, as files or a folder, whose scores are compared with the pictures'.
    - `judge`: another model with the same classes, which is asked what it sees.

    Raises SeewhyError with a one-line message for unknown names and invalid values.
    """
    model = _as_model(model)
    side = (size, size) if isinstance(size, int) else size
    of_classes = _are_classes(target, model)
    if side is None and of_classes:
        side = model.preparation.size
    height, width, input_size = _sizes(model, side)
    if transforms is None:
        transforms = "strong" if of_classes and min(height, width) >= LARGE else "robust"
    probe = torch.full((1, model.preparation.channels, *(input_size or (height, width))), 0.5)
    targets = [
        t
        for each in _each(target, model, probe)
        for t in [_diverse(each, diversity)] * _checked_restarts(restarts)
    ]
    # The last seeds may be larger than the largest one of NumPy; torch takes 64 bits.
    seeds = tuple(seed + FARTHEST * (number % restarts) for number in range(len(targets)))
    if not 0 <= seed <= LARGEST_SEED:
        raise SeewhyError(f"the seed must be from 0 to {LARGEST_SEED}, not {seed}")
    objective = Objective(model, targets, probe)
    beginning = None
    if start is not None:
        from seewhy.images import Preparation, prepare

        shown = Preparation((height, width), max(height, width), model.preparation.channels)
        beginning = prepare(start, shown).pixels
        beginning = beginning.expand(len(targets), -1, -1, -1) if len(beginning) == 1 else beginning
        if len(beginning) != len(targets):
            raise SeewhyError(f"{len(beginning)} pictures to start from for {len(targets)} targets")
        if nearness:
            penalties = (*penalties, Nearness(beginning, nearness))
    made = parametrisation_of(parametrisation)
    recipe = Recipe(
        Transparent(made) if transparent else made, _transforms(transforms), tuple(penalties),
        tuple(constraints), steps, tolerance, rate,
    )  # fmt: skip

    def tell(done: int, total: int) -> None:
        if progress:
            progress("visualize", done / total)

    settings = Settings(seed, precision, batch_size, tell)
    whole = (model.preparation.channels, height, width)
    solution = solve(model, objective, recipe, whole, seeds, settings, beginning, input_size)
    result = _with_evidence(model, objective, targets, recipe, seeds, solution, input_size, judge)
    if images is None:
        return result
    return beside_photographs(result, model, targets, images)


def _with_evidence(
    model: Model,
    objective: Objective,
    targets: Sequence[Target],
    recipe: Recipe,
    seeds: tuple[int, ...],
    solution: Solution,
    input_size: tuple[int, int] | None,
    judge: Model | nn.Module | str | None,
) -> Visualization:
    pictures = solution.pictures
    if isinstance(recipe.parametrisation, Transparent):
        pictures = over(pictures)
    views = unseen_views(pictures, input_size)
    size = input_size or (pictures.shape[2], pictures.shape[3])
    plain = pictures if input_size is None else resized(pictures, size)
    other = None if judge is None else _as_model(judge)
    names = tuple(_name(target, model) for target in targets)
    repeated = len(set(names)) < len(names)
    return Visualization(
        pictures=solution.pictures,
        targets=names,
        score=scores_of(model, objective, plain),
        unseen=torch.stack([scores_of(model, objective, view) for view in views]).mean(0),
        steps=solution.steps,
        model=model.name,
        recipe=_described(recipe),
        seeds=seeds,
        seen=seen_as_class(model, views, targets),
        judged=None if other is None else seen_as_class(other, [pictures], targets),
        judge="" if other is None else other.name,
        agreement=agreement(model, _layer_of(targets, model, plain[:1]), plain, names)
        if repeated
        else None,
        transparent=isinstance(recipe.parametrisation, Transparent),
        notes=solution.notes,
    )


def _diverse(target: Target, weight: float) -> Target:
    """Return the target plus the diversity of the pictures that have it, in its first layer."""
    if not weight:
        return target
    layers = [term.place.layer for _, term in terms(target) if isinstance(term, Hidden)]
    if not layers:
        raise SeewhyError("diversity compares pictures in a unit's layer; name a unit, not a class")
    return target + weight * diverse(layers[0])


def beside_photographs(
    result: Visualization,
    model: Model,
    targets: Sequence[TargetLike],
    images: Any,
    progress: Report | None = None,
) -> Visualization:
    """Return the result with the scores of photographs, which are searched once for all targets.

    `targets`: as they were given to `visualize`. Raises SeewhyError if no photograph can be read.
    """
    size = (result.pictures.shape[2], result.pictures.shape[3])
    height, width, input_size = _sizes(model, size)
    size = input_size or (height, width)
    probe = torch.full((1, model.preparation.channels, *size), 0.5)
    objective = Objective(model, _each(targets, model, probe), probe)

    def tell(done: int, total: int) -> None:
        if progress:
            progress("photographs", done / total)

    natural = natural_scores(model, objective, images, size, tell)
    restarts = len(result) // len(objective.targets)
    scores = natural.scores.repeat_interleave(restarts, 1)
    pictures = over(result.pictures) if result.transparent else result.pictures
    layer = halfway(model, _layer_of(objective.targets, model, probe), probe)
    unlike = unlike_photographs(model, layer, resized(pictures, size), images)
    return replace(result, natural=replace(natural, scores=scores), unlike=unlike)


def _layer_of(targets: Sequence[Target], model: Model, probe: Tensor) -> str:
    """Return the first layer that the targets name, or the deepest with rows and columns.

    A network without rows and columns is read at its last layer.
    """
    hidden = (t for target in targets for _, t in terms(target) if isinstance(t, Hidden))
    first = next(hidden, None)
    graph = model.layer_graph(probe)
    return (graph.spatial or list(graph.layers)[-1]) if first is None else first.place.layer


def _name(target: Target, model: Model) -> str:
    """Return a target's name; a class has that of the model where there is one."""
    given = str(target.of_class) if isinstance(target, Logit) else ""
    if not given.isdigit():
        return str(target)
    index = int(given)
    return model.classes[index] if model.classes else f"class {index}"


def _as_model(model: Model | nn.Module | str) -> Model:
    if isinstance(model, Model):
        return model
    return open_model(model) if isinstance(model, str) else Model(model)


def _each(target: TargetLike, model: Model, probe: Tensor) -> list[Target]:
    """Return the targets, with names and texts parsed."""
    if target is None:
        raise SeewhyError("name a target: a class, or a unit such as layer3:17")
    several = isinstance(target, Sequence) and not isinstance(target, str)
    each = list(target) if several else [target]  # type: ignore[arg-type]
    if not each:
        raise SeewhyError("no target given; name a class, or a unit such as layer3:17")
    return questions(each, len(each), model, probe)[0]


def _are_classes(target: TargetLike, model: Model) -> bool:
    """Return whether all targets are classes."""
    probe = torch.full((1, model.preparation.channels, *_sizes(model, None)[:2]), 0.5)
    each = (term for target in _each(target, model, probe) for _, term in terms(target))
    return all(isinstance(term, Logit) for term in each)


def _sizes(model: Model, size: tuple[int, int] | None) -> tuple[int, int, tuple[int, int] | None]:
    """Return the height and width of the pictures, and the network's input size if it differs."""
    own = model.preparation.size
    # A network of small pictures has layers that a large one would fill with repetitions.
    height, width = size or (own if own and max(own) < SIDE else (SIDE, SIDE))
    if min(height, width) < 8:
        raise SeewhyError(f"pictures must have at least 8 pixels a side, not {height} x {width}")
    try:
        model.layer_graph(torch.full((1, model.preparation.channels, height, width), 0.5))
    except Exception:
        # Transformers and networks with dense layers after the grid take a single size.
        if own is None or own == (height, width):
            raise
        return (*own, None) if size is None else (height, width, own)
    return height, width, None


def _transforms(given: str | Transforms) -> Transforms:
    if isinstance(given, Transforms):
        return given
    if given not in SETS:
        raise Unknown("set of transforms", given, SETS, hint=f"there are {', '.join(SETS)}")
    return SETS[given]


def _checked_restarts(restarts: int) -> int:
    if not (isinstance(restarts, int) and restarts >= 1):
        raise SeewhyError(f"restarts must be a whole number, at least 1, not {restarts!r}")
    return restarts


def _described(recipe: Recipe) -> str:
    parts = [recipe.parametrisation.name]
    parts += [f"{name} transforms" for name, t in SETS.items() if t == recipe.transforms]
    parts += [type(p).__name__ for p in (*recipe.penalties, *recipe.constraints)]
    return f"{', '.join(parts)}; at most {recipe.steps} steps"


def joined(parts: Sequence[Visualization]) -> Visualization:
    """Return one result with the pictures of several, not yet beside photographs."""
    first = parts[0]

    def together(name: str) -> tuple[Any, ...] | None:
        values = [getattr(part, name) for part in parts]
        present = any(value is not None for value in values)
        if not present:
            return None
        return tuple(
            v for part, of in zip(parts, values, strict=True) for v in of or [None] * len(part)
        )

    return replace(
        first,
        pictures=torch.cat([part.pictures for part in parts]),
        targets=together("targets") or (),
        score=torch.cat([part.score for part in parts]),
        unseen=torch.cat([part.unseen for part in parts]),
        steps=torch.cat([part.steps for part in parts]),
        seeds=together("seeds") or (),
        natural=None,
        seen=together("seen"),
        judged=together("judged"),
        agreement=None,
        unlike=None,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
