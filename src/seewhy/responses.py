"""How much of a picture is enough? The response to ever larger parts of it.

    e = seewhy.explain(model, "dog.jpg", "extremal-perturbation", areas="0.02,0.05,0.1,0.2,0.4")
    curve = seewhy.response_curve(model, e)
    curve.kept[0]             # the probability that each area keeps, seen alone
    curve.enough(0.5)         # the smallest area that keeps half of it

Ruth Fong, Mandela Patrick, Andrea Vedaldi 2019, arXiv 1910.08485, section 4.1.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seewhy.attribution.extremal_perturbation import areas_of
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.explaining import as_model
from seewhy.explanation import Explanation
from seewhy.masking.perturbations import perturbation
from seewhy.masking.smooth import hardened
from seewhy.model import Model
from seewhy.session import borrowed


@dataclass(frozen=True, eq=False)
class ResponseCurve:
    """The probability of the explained class when only a part of the picture is seen.

    - `areas`: shares of the picture, exactly. - `kept`: per picture and area. - `whole`: with the
    whole picture. It can be less: what is around an object may speak against it.
    """

    areas: tuple[float, ...]
    kept: Float[Tensor, "pictures areas"]
    whole: Float[Tensor, " pictures"]

    def enough(self, share: float = 0.5) -> Float[Tensor, " pictures"]:
        """The smallest area that keeps this share of the probability; NaN where none does."""
        areas = torch.tensor(self.areas).expand_as(self.kept)
        suffices = self.kept >= share * self.whole[:, None]
        smallest = areas.masked_fill(~suffices, torch.inf).amin(1)
        return smallest.masked_fill(smallest.isinf(), torch.nan)


def response_curve(model: "Model | nn.Module | str", explanation: Explanation) -> ResponseCurve:
    """What each mask of an extremal perturbation keeps, when it is cut to its area exactly.

    Raises NotApplicable for other methods, for targets that are no class, and for models whose
    outputs are no logits.
    """
    parameters = explanation.provenance.parameters
    if "areas" not in parameters:
        raise NotApplicable("response_curve() needs an explanation by extremal-perturbation")
    if explanation.raw or bool((explanation.target < 0).any()):
        raise NotApplicable("response_curve() is about the probability of a class")
    if parameters["variant"] == "delete":
        raise NotApplicable("masks that delete keep nothing; ask with variant preserve or dual")
    opened, areas = as_model(model), areas_of(parameters["areas"])
    pixels = explanation.batch.pixels.detach().to(opened.device, opened.dtype)
    if len(pixels) != len(explanation):
        raise SeewhyError("response_curve() takes one question; index the explanation first")
    seen = perturbation(parameters["perturbation"], opened, pixels)
    pictures = torch.arange(len(pixels), device=pixels.device)
    kept = []
    with borrowed(opened.net), torch.no_grad():
        for i, area in enumerate(areas):
            masks = hardened(explanation.attribution[:, i].to(pixels), area)
            logits = torch.cat(
                [opened.forward(seen.apply(some, masks[some])) for some in pictures.split(8)]
            )
            kept.append(replace(explanation, logits=logits.float().cpu()).probabilities)
    return ResponseCurve(areas, torch.stack(kept, 1), explanation.probabilities)
