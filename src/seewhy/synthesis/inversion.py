"""What does a layer still know of a picture? Pictures with the same representation.

    result = seewhy.invert(model, "dog.jpg", "layer3")
    result.error                                          # how well each picture matches
    seewhy.invert(model, "dog.jpg", ["layer1", "layer4"], prior="deep-image", restarts=3)

The pictures that match are a class, not one: what differs between the restarts is what the layer
has lost. Priors choose among them:

    none         pixels, nothing else
    fourier      Fourier coefficients in decorrelated colours
    natural      the same with the alpha norm and total variation of natural pre-images (Mahendran,
                 Vedaldi 2015, arXiv 1412.0035; 2016, arXiv 1512.02017)
    deep-image   an untrained network (Ulyanov, Vedaldi, Lempitsky 2018, arXiv 1711.10925)
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seewhy.activations.capture import capture
from seewhy.errors import SeewhyError, Unknown
from seewhy.images import Batch
from seewhy.models.addresses import Address
from seewhy.models.edits import Edit, edited
from seewhy.models.model import Model
from seewhy.results import Result
from seewhy.sources import open_model
from seewhy.support.settings import LARGEST_SEED, Settings
from seewhy.synthesis.closeness import closeness
from seewhy.synthesis.deep_image_prior import DeepImagePrior
from seewhy.synthesis.evidence import scores_of
from seewhy.synthesis.objective import Objective
from seewhy.synthesis.parametrisations import Fourier, Pixels
from seewhy.synthesis.penalties import AlphaNorm, TotalVariation
from seewhy.synthesis.solver import Recipe, solve
from seewhy.targets.representations import Match
from seewhy.targets.scores import Outputs

FARTHEST = 997  # seeds of restarts are this far apart

# The paper optimises pixels, with a weight of the variation that grows with depth. In Fourier
# coefficients one weight serves all layers, and both errors and pictures are better.
NATURAL = (AlphaNorm(0.01), TotalVariation(3.0))
PRIORS: Mapping[str, Recipe] = {
    "none": Recipe(Pixels(), steps=400),
    "fourier": Recipe(Fourier(), steps=400),
    "natural": Recipe(Fourier(), penalties=NATURAL, steps=400),
    "deep-image": Recipe(DeepImagePrior(), steps=600),
}

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False, repr=False)
class Inversion(Result):
    """Pictures whose representation is that of a given one.

    - `pictures`: in [0, 1], by layer and restart. - `original`: the picture as the model sees it.
    - `error`: the squared distance of the representations over the squared length of the given one.
    - `spread`: the mean standard deviation of pixels between the restarts; NaN for a single one.
    - `closeness`: the cosine between the representations of each picture and the original in the
    last layer with rows and columns of the network `judge`; None without one.
    - `kept`: the channels that had to match; None: all.
    """

    model: str
    source: str
    layers: tuple[str, ...]
    prior: str
    original: Float[Tensor, "c h w"]
    pictures: Float[Tensor, "layers restarts c h w"]
    error: Float[Tensor, "layers restarts"]
    seeds: tuple[int, ...]
    steps: int
    closeness: Float[Tensor, "layers restarts"] | None = None
    judge: str = ""
    kept: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def spread(self) -> Float[Tensor, " layers"]:
        """The mean standard deviation between the restarts, by layer."""
        return self.pictures.std(1).mean((1, 2, 3))


def invert(
    model: Model | nn.Module | str,
    picture: Any,
    layer: str | Sequence[str],
    *,
    prior: str | Recipe = "natural",
    restarts: int = 1,
    steps: int | None = None,
    channels: Sequence[int] | None = None,
    edits: Mapping[str | Address, Edit] | None = None,
    judge: Model | nn.Module | str | None = None,
    seed: int = 0,
    precision: str = "full",
    batch_size: int | None = None,
    progress: Report | None = None,
) -> Inversion:
    """Make pictures with the same representation as the given one, in one or several layers.

    - `prior`: "none", "fourier", "natural" or "deep-image", or a `synthesis.solver.Recipe`.
    - `restarts`: the number of pictures of each layer, from different seeds.
    - `channels`: only these have to match; what the others do is free.
    - `edits`: the representation is taken while these edits are active, such as
    {"layer3:17": seewhy.ablate()}: what is left without channel 17?
    - `judge`: another model, in whose features the pictures are compared with the original.

    Raises SeewhyError for unknown names, for a layer that represents the picture as zero, and for
    invalid values.
    """
    model, judge = _as_model(model), None if judge is None else _as_model(judge)
    recipe = _recipe(prior, steps)
    seeds = _seeds(seed, restarts)
    layers = (layer,) if isinstance(layer, str) else tuple(layer)
    if not layers:
        raise SeewhyError("no layer given; name at least one")
    batch = picture if isinstance(picture, Batch) else model.prepare(picture)
    if len(batch) != 1:
        raise SeewhyError(f"{len(batch)} pictures given; invert one at a time")
    kept = None if channels is None else tuple(channels)
    with edited(model, edits) if edits else nullcontext():
        maps = representations(model, batch.pixels, layers)
    found = []
    for number, name in enumerate(layers):
        target = Match(Address.parse(name), maps[name], _weights(kept, maps[name], name))
        tell = None if progress is None else _part(progress, name, number, len(layers))
        settings = Settings(seed, precision, batch_size, tell)
        found.append(_inverted(model, target, recipe, batch.pixels, seeds, settings))
    pictures = torch.stack([pictures for pictures, _, _ in found])
    original = batch.pixels[0].detach().cpu()
    return Inversion(
        model=model.name,
        source=batch.pictures[0].source,
        layers=layers,
        prior=prior if isinstance(prior, str) else recipe.parametrisation.name,
        original=original,
        pictures=pictures,
        error=torch.stack([error for _, error, _ in found]),
        seeds=seeds,
        steps=recipe.steps,
        closeness=None if judge is None else closeness(judge, pictures, original),
        judge="" if judge is None else judge.name,
        kept=kept,
        notes=tuple(dict.fromkeys(note for _, _, notes in found for note in notes)),
    )


def representations(
    model: Model, pixels: Float[Tensor, "1 c h w"], layers: Sequence[str]
) -> dict[str, Tensor]:
    """Return the activation of each layer as maps [channels, rows, columns].

    Raises SeewhyError for one that is zero.
    """
    raw = capture(model, pixels, layers)
    outputs = Outputs(
        torch.zeros(1, 0), {Address.parse(n): a for n, a in raw.items()}, model.layer_graph(pixels)
    )
    maps = {name: outputs.maps(Address.parse(name))[0] for name in layers}
    for name, values in maps.items():
        if not bool(values.any()):
            raise SeewhyError(f"{name} is zero for this picture; there is nothing to match")
    return maps


def _inverted(
    model: Model,
    target: Match,
    recipe: Recipe,
    pixels: Tensor,
    seeds: tuple[int, ...],
    settings: Settings,
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return the pictures of one layer, their relative errors, and notes."""
    objective = Objective(model, [target] * len(seeds), pixels)
    size = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
    solution = solve(model, objective, recipe, size, seeds, settings)
    return solution.pictures, -scores_of(model, objective, solution.pictures), solution.notes


def _recipe(prior: str | Recipe, steps: int | None) -> Recipe:
    if isinstance(prior, str) and prior not in PRIORS:
        raise Unknown("prior", prior, PRIORS, hint=f"there are {', '.join(PRIORS)}")
    recipe = PRIORS[prior] if isinstance(prior, str) else prior
    return recipe if steps is None else replace(recipe, steps=steps)


def _seeds(seed: int, restarts: int) -> tuple[int, ...]:
    if not (isinstance(restarts, int) and restarts >= 1):
        raise SeewhyError(f"restarts must be a whole number, at least 1, not {restarts!r}")
    if not 0 <= seed <= LARGEST_SEED:
        raise SeewhyError(f"the seed must be from 0 to {LARGEST_SEED}, not {seed}")
    return tuple(seed + FARTHEST * number for number in range(restarts))


def _weights(kept: tuple[int, ...] | None, maps: Tensor, layer: str) -> Tensor | None:
    if kept is None:
        return None
    wrong = [c for c in kept if not 0 <= c < len(maps)]
    if wrong or not kept:
        raise SeewhyError(
            f"{layer} has {len(maps)} channels, counted from 0; name some of them, not "
            f"{wrong or 'none'}"
        )
    weights = torch.zeros(len(maps))
    weights[list(kept)] = 1
    if not bool(maps[list(kept)].any()):
        raise SeewhyError(f"these channels of {layer} are zero for this picture; name others")
    return weights


def _part(progress: Report, name: str, number: int, count: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"invert {name}", (number + done / total) / count)


def _as_model(model: Model | nn.Module | str) -> Model:
    if isinstance(model, Model):
        return model
    return open_model(model) if isinstance(model, str) else Model(model)
