"""How much of a picture is enough? The response to ever larger parts of it.

    e = seewhy.explain(model, "dog.jpg", "extremal-perturbation", areas=(0.02, 0.05, 0.1, 0.2, 0.4))
    curve = seewhy.sufficiency_curve(model, e)
    curve.kept[0]             # the probability that each area keeps, seen alone
    curve.enough(0.5)         # the smallest area that keeps half of it
    curve.save("enough.png")  # what the network saw, and the curve

Ruth Fong, Mandela Patrick, Andrea Vedaldi 2019, arXiv 1910.08485, section 4.1.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seewhy.attribution.explain import as_model
from seewhy.attribution.explanation import Explanation
from seewhy.errors import NotApplicable, SeewhyError, TooLarge
from seewhy.images import Batch
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.perturbation.perturbations import perturbation
from seewhy.perturbation.smooth import hardened
from seewhy.results import Result
from seewhy.support.batching import BatchSizer
from seewhy.support.settings import Settings
from seewhy.targets.questions import hidden_of, questions
from seewhy.targets.terms import TargetLike

NO_CLASS = "sufficiency_curve() is about the probability of a class"


@dataclass(frozen=True, eq=False, repr=False)
class SufficiencyCurve(Result):
    """The probability of the explained class when only a part of the picture is seen.

    - `areas`: shares of the picture, exactly. - `kept`: per picture and area. - `whole`: with the
    whole picture. It can be less: what is around an object may speak against it.
    - `masks`: what was seen. - `hidden`: what the network saw in place of the rest, as
    `baseline` says. - `targets`: the classes in words. - `notes`: what has been found out on
    the way.
    """

    model: str
    areas: tuple[float, ...]
    kept: Float[Tensor, "pictures areas"]
    whole: Float[Tensor, " pictures"]
    batch: Batch
    masks: Bool[Tensor, "pictures areas height width"]
    hidden: Float[Tensor, "pictures channels height width"]
    baseline: str
    targets: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.kept)

    def suffices(self, share: float = 0.5) -> Bool[Tensor, "pictures areas"]:
        """Whether an area keeps this share of the probability."""
        return self.kept >= checked_share(share) * self.whole[:, None]

    def enough(self, share: float = 0.5) -> Float[Tensor, " pictures"]:
        """The smallest area that keeps this share of the probability; NaN where none does."""
        areas = torch.tensor(self.areas).expand_as(self.kept)
        smallest = areas.masked_fill(~self.suffices(share), torch.inf).amin(1)
        return smallest.masked_fill(smallest.isinf(), torch.nan)

    def seen(self, picture: int, area: int) -> Float[Tensor, "channels height width"]:
        """A picture as the network saw it, with the area of this number."""
        pixels = self.batch.pixels[picture].detach().cpu().float()
        return torch.where(self.masks[picture, area], pixels, self.hidden[picture])


def sufficiency_curve(
    model: "Model | nn.Module | str", explanation: Explanation, *, batch_size: int | None = None
) -> SufficiencyCurve:
    """What each mask of an extremal perturbation keeps, when it is cut to its area exactly.

    - `batch_size`: the most pictures in one forward; None: chosen for the device.

    All is computed in the network's own type, also where masks were learned in another. Raises
    NotApplicable for other methods, for targets that are no class, and for models whose outputs
    are no logits.
    """
    parameters = explanation.provenance.parameters
    if "areas" not in parameters:
        raise NotApplicable("sufficiency_curve() needs an explanation by extremal-perturbation")
    if explanation.raw or bool((explanation.target < 0).any()):
        raise NotApplicable(NO_CLASS)
    if parameters["variant"] == "delete":
        raise NotApplicable("masks that delete keep nothing; ask with variant preserve or dual")
    opened, areas = as_model(model), tuple(parameters["areas"])
    if len(explanation.batch) != len(explanation):
        raise SeewhyError("sufficiency_curve() takes one question; index the explanation first")
    soft = explanation.attribution.unbind(1)
    cut = [hardened(some, area).bool() for some, area in zip(soft, areas, strict=True)]
    masks = torch.stack(cut, 1)
    settings = Settings(most=batch_size)
    (kept, whole, hidden), note = _answers(opened, explanation, masks, settings)
    return SufficiencyCurve(
        model=explanation.provenance.model,
        areas=areas,
        kept=kept,
        whole=whole,
        batch=explanation.batch,
        masks=masks,
        hidden=hidden,
        baseline=parameters["baseline"],
        targets=tuple(explanation.target_names),
        notes=(*explanation.notes, *([note] if note else [])),
    )


def check_class(model: Model, batch: Batch, target: TargetLike) -> None:
    """Raise NotApplicable for hidden units and raw scores, before any mask is learned."""
    asked = questions(target, len(batch), model, batch.pixels)
    if model.raw or any(hidden_of(question) for question in asked):
        raise NotApplicable(NO_CLASS)


def checked_share(share: float) -> float:
    """A share of the probability; raises SeewhyError unless it is above 0 and at most 1."""
    if not 0 < share <= 1:
        raise SeewhyError(f"the share that is enough is above 0 and at most 1, not {share}")
    return share


def _answers(
    model: Model,
    explanation: Explanation,
    masks: Bool[Tensor, "pictures areas height width"],
    settings: Settings,
) -> tuple[list[Tensor], str | None]:
    """Probabilities with each area, those with the whole, and what was seen for the rest.

    And a note where memory has run out.
    """
    sizer = BatchSizer(settings, explanation.batch.pixels)

    def answered(some: slice) -> tuple[Tensor, Tensor, Tensor]:
        return _of_some(model, explanation[some], masks[some])

    with borrowed(model.net), torch.no_grad():
        too_large = TooLarge(model.name, *masks.shape[-2:])
        parts = list(sizer.parts(len(masks), answered, too_large))
    return [torch.cat(column) for column in zip(*parts, strict=True)], sizer.note


def _of_some(
    model: Model, some: Explanation, masks: Bool[Tensor, "pictures areas height width"]
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for some of the pictures."""
    pixels = some.batch.pixels.detach().to(model.device, model.dtype)
    hidden = perturbation(some.provenance.parameters["baseline"], model, pixels).hidden

    def probability(seen: Tensor) -> Float[Tensor, " pictures"]:
        return replace(some, logits=model.forward(seen).float().cpu()).probabilities

    kept = [
        probability(torch.where(mask[:, None].to(pixels.device), pixels, hidden))
        for mask in masks.unbind(1)
    ]
    return torch.stack(kept, 1), probability(pixels), hidden.float().cpu()
