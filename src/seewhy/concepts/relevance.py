"""Through which channels does the evidence flow, and what does each of them see in the picture?

Concept-conditional relevance (CRP): the relevance of a layer's channels says which of them the
decision draws on; pulled back through one channel alone, it says where in the picture that
channel finds what it stands for. Reduan Achtibat et al.: From Attribution Maps to
Human-Understandable Explanations through Concept Relevance Propagation, 2023, arXiv 2206.03208.

    found = seewhy.relevant_channels(model, "dog.jpg", layer="layer3")
    found.top(3)                     # [[("layer3:17", 0.21), ...]]
    found.save("concepts.png")

Shares are of the layer's whole relevance, which is the score less what biases above it kept. It
misleads where a network spreads a concept over many channels, or puts several into one.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seewhy.attribution.explain import Report, as_model, explain
from seewhy.attribution.explanation import Explanation
from seewhy.attribution.method import Method, as_method, check
from seewhy.attribution.methods.lrp import Relevance
from seewhy.engine.recording import INPUT, Request, recorded
from seewhy.errors import SeewhyError, TooLarge
from seewhy.images import Batch
from seewhy.models.addresses import Address
from seewhy.models.model import Model
from seewhy.results import Result
from seewhy.support.batching import BatchSizer
from seewhy.support.settings import Settings
from seewhy.targets.questions import questions
from seewhy.targets.terms import MultiTarget, Target, TargetLike


@dataclass(frozen=True, eq=False, repr=False)
class ChannelRelevance(Result):
    """The channels of one layer that a decision draws on, and what each of them sees.

    - `explanation`: the method's map with all channels.
    - `relevance`: of each channel of the layer, per picture; in the unit of the score.
    - `channels`: the most relevant ones, most relevant first.
    - `maps`: relevance of the pixels through each of those alone.
    """

    layer: str
    explanation: Explanation
    relevance: Float[Tensor, "pictures channels"]
    channels: Int[Tensor, "pictures count"]
    maps: Float[Tensor, "pictures count height width"]

    def __len__(self) -> int:
        return len(self.relevance)

    @property
    def shares(self) -> Float[Tensor, "pictures count"]:
        """What the chosen channels have of the layer's relevance, as shares of its absolute sum."""
        total = self.relevance.abs().sum(1, keepdim=True).clamp_min(1e-12)
        return self.relevance.gather(1, self.channels) / total

    def top(self, count: int | None = None) -> list[list[tuple[str, float]]]:
        """Per picture, (address, share) of the most relevant channels."""
        return [
            [(self.address(c), float(s)) for c, s in zip(row, share, strict=True)][:count]
            for row, share in zip(self.channels.tolist(), self.shares.tolist(), strict=True)
        ]

    def address(self, channel: int) -> str:
        """The channel as an address, to be used as a target or in `through`."""
        return str(Address.parse(f"{self.layer}:{channel}"))


def relevant_channels(
    model: "Model | nn.Module | str",
    pictures: Any,
    layer: str | None = None,
    target: TargetLike = None,
    method: "str | Method | type[Method]" = "lrp-epsilon-plus",
    *,
    count: int = 4,
    precision: str = "full",
    batch_size: int | None = None,
    progress: Report | None = None,
) -> ChannelRelevance:
    """The channels of a layer that the answer draws on most, and their conditional maps.

    - `layer`: whose channels; None: the deepest with rows and columns. With `#call` one call.
    - `method`: one of the LRP methods. - `count`: how many channels.

    All pictures' conditional maps of one rank come from one backward. The other parameters are
    those of `explain`. Raises SeewhyError for a layer without rows and columns, NotApplicable
    where the method has no meaning for the model.
    """
    opened, chosen = as_model(model), as_method(method)
    check(count >= 1, f"relevant_channels() shows at least one channel, not {count}")
    if not isinstance(chosen, Relevance) or chosen.layer or chosen.through:
        raise SeewhyError(
            "relevant_channels() needs an LRP method that reads the pixels, such as "
            "lrp-epsilon-plus"
        )
    batch = pictures if isinstance(pictures, Batch) else opened.prepare(pictures)
    place = str(Address.parse(layer or opened.find_layer(batch.pixels)))
    if isinstance(target, MultiTarget) or Address.parse(place).channel is not None:
        raise SeewhyError(
            "relevant_channels() takes one target for each picture, and a whole layer"
        )
    whole = explain(
        opened, batch, chosen, target,
        precision=precision, batch_size=batch_size, progress=progress,
    )  # fmt: skip
    (asked,) = questions(target, len(batch), opened, batch.pixels)
    settings = Settings(precision=precision, most=batch_size)

    def of_some(some: slice) -> tuple[Tensor, Tensor, Tensor]:
        return _conditional(opened, batch.pixels[some], chosen, place, count, asked[some], settings)

    sizer = BatchSizer(settings, batch.pixels, recorded=True, device=opened.device)
    parts = sizer.parts(len(batch), of_some, TooLarge(opened.name, *batch.pixels.shape[-2:]))
    relevance, channels, maps = (torch.cat(column) for column in zip(*parts, strict=True))
    return ChannelRelevance(place, whole, relevance, channels, maps)


def _conditional(
    model: Model,
    pixels: Tensor,
    method: Relevance,
    place: str,
    count: int,
    asked: list[Target],
    settings: Settings,
) -> tuple[Tensor, Tensor, Tensor]:
    """Relevance of the channels, the most relevant ones, and a map through each of those."""
    rules = method.rules()
    requests = [Request(place, rules), Request(INPUT, rules, (place,))]
    with recorded(model, pixels, requests, MultiTarget((asked,)), settings) as recording:
        at_layer, _ = recording.relevance(place, rules)
        relevance = recording.maps(place, at_layer).sum((2, 3))
        best = relevance.topk(min(count, relevance.shape[1])).indices
        maps = []
        for rank in best.T.tolist():
            channels = tuple(f"{place}:{channel}" for channel in rank)
            through, _ = recording.relevance(INPUT, rules, (channels,))
            maps.append(through.float().sum(1))
        return relevance.cpu(), best.cpu(), torch.stack(maps, 1).cpu()
