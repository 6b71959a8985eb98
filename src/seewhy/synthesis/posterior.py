"""The third kind of pre-image: samples of all pictures that fit, under a learned prior.

    prior = GeneratorPrior(decoder, code=(10,), low=0)
    result = seewhy.sample_posterior(model, "face.png", "layer2", prior)
    result.spread      # where the samples differ, the layer does not determine the picture

The prior is a generator or decoder with a standard normal code. The likelihood is normal: the
relative squared distance of the representations over `noise`^2 / 2. A target instead of a picture
gives pictures that the unit or class wants, as many as the prior thinks likely.

A. Vedaldi, tutorial on understanding models (CVPR 2020): regularised energy, hard constraints,
posterior; Nguyen et al. 2017, arXiv 1612.00005.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seewhy.errors import SeewhyError
from seewhy.images import Batch
from seewhy.models.addresses import Address
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.results import Result
from seewhy.support.settings import LARGEST_SEED
from seewhy.synthesis.generator_prior import GeneratorPrior
from seewhy.synthesis.inversion import representations
from seewhy.synthesis.langevin import sample
from seewhy.synthesis.objective import Objective
from seewhy.targets.questions import questions
from seewhy.targets.representations import Match
from seewhy.targets.terms import Target, TargetLike

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False, repr=False)
class Posterior(Result):
    """Samples of pictures that fit.

    - `original`: the picture whose representation was given; None for a target. - `samples`: in
    [0, 1], by chain and time. - `codes`: the codes of the samples. - `misfit`: the relative squared
    distance of the representations, or minus the target's score, of each sample. - `accepted`: the
    fraction of accepted proposals of each chain; near .57 is best, and below .1 the samples are not
    to be relied on. - `mixing`: the Gelman-Rubin statistic, the largest over the numbers of the
    code; above 1.1 the chains have not seen the same pictures.
    """

    model: str
    what: str
    original: Float[Tensor, "c h w"] | None
    samples: Float[Tensor, "chains samples c h w"]
    codes: Float[Tensor, "chains samples numbers"]
    misfit: Float[Tensor, "chains samples"]
    accepted: Float[Tensor, " chains"]
    noise: float
    seed: int

    @property
    def spread(self) -> Float[Tensor, "h w"]:
        """The standard deviation of each pixel over all samples, the mean over channels."""
        return self.samples.flatten(0, 1).std(0).mean(0)

    @property
    def mixing(self) -> float:
        """Return the Gelman-Rubin statistic (1992), the largest over the numbers of the code."""
        chains, count = self.codes.shape[:2]
        if chains < 2 or count < 2:
            return math.nan
        within = self.codes.var(1).mean(0)
        between = self.codes.mean(1).var(0)
        estimate = (count - 1) / count * within + between
        return float((estimate / within.clamp_min(1e-12)).sqrt().max())


def sample_posterior(
    model: Model | nn.Module,
    picture: Any,
    layer: str | None,
    prior: GeneratorPrior,
    *,
    target: TargetLike = None,
    noise: float = 0.1,
    chains: int = 4,
    samples: int = 16,
    warm_up: int = 300,
    every: int = 10,
    seed: int = 0,
    progress: Report | None = None,
) -> Posterior:
    """Sample codes of a generator whose pictures have the representation of the given one.

    - `picture` and `layer`: what to match; or None and `target`: what to maximise. - `noise`: the
    standard deviation of the representation, relative to its length; of a target, the score that
    makes a picture e times as likely. - `chains`: independent ones, from different seeds.
    - `samples`: of each chain, `every` steps apart, after `warm_up` steps.

    Raises SeewhyError for unknown names and invalid values.
    """
    model = model if isinstance(model, Model) else Model(model)
    _check(noise, chains, samples, warm_up, every, seed)
    size, goal, original, what = _goal(model, picture, layer, target)
    objective = Objective(model, [goal], torch.full((1, *size), 0.5))
    rows = torch.zeros(chains, dtype=torch.long)
    share = 1 / (noise**2 / 2) if original is not None else 1 / noise

    def pictures_of(codes: Tensor) -> Tensor:
        return prior.picture([codes.view(-1, *prior.code)], size)

    def log_density(codes: Tensor) -> Tensor:
        score = objective(pictures_of(codes), rows)
        return share * score.to(codes) - codes.pow(2).sum(1) / 2

    def tell(done: int, total: int) -> None:
        if progress:
            progress("sample", done / total)

    seeds = [seed + 997 * number for number in range(chains)]
    (start,) = prior.start(size, seeds)
    with borrowed(prior.net), borrowed(model.net):
        found = sample(
            log_density, start.view(chains, -1).to(model.device), seeds,
            warm_up=warm_up, count=samples, every=every, tell=tell,
        )  # fmt: skip
        codes = found.samples.transpose(0, 1)
        with torch.no_grad():
            pictures = torch.stack([pictures_of(of_chain) for of_chain in codes])
            scores = torch.stack(
                [objective(p, torch.zeros(len(p), dtype=torch.long)) for p in pictures]
            )
    return Posterior(
        model=model.name,
        what=what,
        original=original,
        samples=pictures.float().cpu(),
        codes=codes.float().cpu().contiguous(),
        misfit=-scores.float().cpu(),
        accepted=found.accepted.float().cpu(),
        noise=noise,
        seed=seed,
    )


def _goal(
    model: Model, picture: Any, layer: str | None, target: TargetLike
) -> tuple[tuple[int, int, int], Target, Tensor | None, str]:
    """Return the size of the pictures, what is maximised, the original, and a description."""
    if (picture is None) == (target is None):
        raise SeewhyError("give either a picture and a layer, or a target")
    if picture is None:
        height, width = model.preparation.size or (128, 128)
        size = (model.preparation.channels, height, width)
        (asked,) = questions(target, 1, model, torch.full((1, *size), 0.5))
        return size, asked[0], None, str(asked[0])
    if layer is None:
        raise SeewhyError("name the layer whose representation is matched")
    batch = picture if isinstance(picture, Batch) else model.prepare(picture)
    if len(batch) != 1:
        raise SeewhyError(f"{len(batch)} pictures given; give one")
    maps = representations(model, batch.pixels, [layer])[layer]
    size = (batch.pixels.shape[1], batch.pixels.shape[2], batch.pixels.shape[3])
    return size, Match(Address.parse(layer), maps), batch.pixels[0].detach().cpu(), layer


def _check(noise: float, chains: int, samples: int, warm_up: int, every: int, seed: int) -> None:
    if not (math.isfinite(noise) and noise > 0):
        raise SeewhyError(f"noise must be above 0, not {noise}")
    for name, value in {"chains": chains, "samples": samples, "every": every}.items():
        if not (isinstance(value, int) and value >= 1):
            raise SeewhyError(f"{name} must be a whole number, at least 1, not {value!r}")
    if not (isinstance(warm_up, int) and warm_up >= 0):
        raise SeewhyError(f"warm_up must be a whole number, at least 0, not {warm_up!r}")
    if not 0 <= seed <= LARGEST_SEED:
        raise SeewhyError(f"the seed must be from 0 to {LARGEST_SEED}, not {seed}")
