"""How much of a picture is enough? The probability of the class for parts of increasing area.

    e = seewhy.explain(model, "dog.jpg", "extremal-perturbation", areas=(0.02, 0.05, 0.1, 0.2, 0.4))
    curve = seewhy.sufficiency_curve(model, e)
    curve.kept[0]             # the probability that each area keeps on its own
    curve.enough(0.5)         # the smallest area that keeps half of the probability
    curve.save("enough.png")  # the network's inputs, and the curve

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

NO_CLASS = (
    "sufficiency_curve() needs the probability of a class, not a raw score, a hidden unit or a "
    "combination of terms"
)


@dataclass(frozen=True, eq=False, repr=False)
class SufficiencyCurve(Result):
    """The probability of the explained class when only part of the picture is visible.

    - `areas`: exact shares of the picture. - `kept`: the probability per picture and area.
    - `whole`: the probability for the whole picture. It can be lower than `kept`, because the
    surroundings of an object may be evidence against it.
    - `masks`: the visible parts. - `hidden`: the pixels that replace the rest, according to
    `baseline`. - `targets`: the names of the classes. - `notes`: messages for the user.
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
        """Return whether each area keeps this share of the probability."""
        return self.kept >= checked_share(share) * self.whole[:, None]

    def enough(self, share: float = 0.5) -> Float[Tensor, " pictures"]:
        """Return the smallest area that keeps this share of the probability; NaN if none does."""
        areas = torch.tensor(self.areas).expand_as(self.kept)
        smallest = areas.masked_fill(~self.suffices(share), torch.inf).amin(1)
        return smallest.masked_fill(smallest.isinf(), torch.nan)

    def seen(self, picture: int, area: int) -> Float[Tensor, "channels height width"]:
        """Return the network's input for the area with this index."""
        pixels = self.batch.pixels[picture].detach().cpu().float()
        return torch.where(self.masks[picture, area], pixels, self.hidden[picture])


def sufficiency_curve(
    model: "Model | nn.Module | str", explanation: Explanation, *, batch_size: int | None = None
) -> SufficiencyCurve:
    """Compute the probability that each mask of an extremal perturbation keeps.

    The masks are made binary with exactly their area.

    - `batch_size`: maximum number of pictures per forward pass; None: chosen for the device.

    The network runs in its own dtype, even if the masks were learned in another. Raises
    NotApplicable for other methods, for targets that are not classes, and for models whose outputs
    are not logits.
    """
    parameters = explanation.provenance.parameters
    if "areas" not in parameters:
        raise NotApplicable("sufficiency_curve() needs an explanation by extremal-perturbation")
    if explanation.raw or bool((explanation.target < 0).any()):
        raise NotApplicable(NO_CLASS)
    if parameters["variant"] == "delete":
        raise NotApplicable("masks that delete keep nothing; use variant preserve or dual")
    opened, areas = as_model(model), tuple(parameters["areas"])
    if len(explanation.batch) != len(explanation):
        raise SeewhyError(
            "sufficiency_curve() takes one target per picture; index the explanation first"
        )
    soft = explanation.attribution.unbind(1)
    binary = [hardened(mask, area).bool() for mask, area in zip(soft, areas, strict=True)]
    masks = torch.stack(binary, 1)
    settings = Settings(most=batch_size)
    (kept, whole, hidden), note = _evaluate(opened, explanation, masks, settings)
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
    """Raise NotApplicable for hidden units and raw scores, before masks are learned."""
    targets = questions(target, len(batch), model, batch.pixels)
    if model.raw or any(hidden_of(question) for question in targets):
        raise NotApplicable(NO_CLASS)


def checked_share(share: float) -> float:
    """Return the share; raises SeewhyError unless it is above 0 and at most 1."""
    if not 0 < share <= 1:
        raise SeewhyError(f"the share must be above 0 and at most 1, not {share}")
    return share


def _evaluate(
    model: Model,
    explanation: Explanation,
    masks: Bool[Tensor, "pictures areas height width"],
    settings: Settings,
) -> tuple[list[Tensor], str | None]:
    """Return the probabilities for the areas and for whole pictures, and the replaced pixels.

    Also return a note if memory ran out.
    """
    sizer = BatchSizer(settings, explanation.batch.pixels)

    def run_part(part: slice) -> tuple[Tensor, Tensor, Tensor]:
        return _evaluate_part(model, explanation[part], masks[part])

    with borrowed(model.net), torch.no_grad():
        too_large = TooLarge(model.name, *masks.shape[-2:])
        parts = list(sizer.parts(len(masks), run_part, too_large))
    return [torch.cat(column) for column in zip(*parts, strict=True)], sizer.note


def _evaluate_part(
    model: Model, part: Explanation, masks: Bool[Tensor, "pictures areas height width"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same for a part of the pictures."""
    pixels = part.batch.pixels.detach().to(model.device, model.dtype)
    hidden = perturbation(part.provenance.parameters["baseline"], model, pixels).hidden

    def probability(inputs: Tensor) -> Float[Tensor, " pictures"]:
        return replace(part, logits=model.forward(inputs).float().cpu()).probabilities

    kept = [
        probability(torch.where(mask[:, None].to(pixels.device), pixels, hidden))
        for mask in masks.unbind(1)
    ]
    return torch.stack(kept, 1), probability(pixels), hidden.float().cpu()
