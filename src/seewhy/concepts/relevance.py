"""Which channels does a prediction depend on, and where in the picture does each of them respond?

Concept relevance propagation (CRP): the relevance of a layer's channels shows which of them the
prediction depends on; relevance propagated to the input through one channel alone shows where that
channel finds its evidence. Reduan Achtibat et al.: From Attribution Maps to
Human-Understandable Explanations through Concept Relevance Propagation, 2023, arXiv 2206.03208.

    result = seewhy.relevant_channels(model, "dog.jpg", layer="layer3")
    result.top(3)                    # [[("layer3:17", 0.21), ...]]
    result.save("concepts.png")

Shares are relative to the layer's absolute relevance. The relevance adds up to the score less what
the biases above the layer absorb. The result is misleading if the network spreads a concept over
many channels, or represents several in one.
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
    """The channels of one layer that a prediction depends on, with a map through each of them.

    - `explanation`: the method's map through all channels.
    - `relevance`: the relevance of each channel of the layer, in the unit of the score.
    - `channels`: the indices of the most relevant channels, most relevant first.
    - `maps`: the relevance of the pixels through each of those channels alone.
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
        """The relevance of `channels`, divided by the sum of the layer's absolute relevance."""
        total = self.relevance.abs().sum(1, keepdim=True).clamp_min(1e-12)
        return self.relevance.gather(1, self.channels) / total

    def top(self, count: int | None = None) -> list[list[tuple[str, float]]]:
        """Return (address, share) of the most relevant channels, for each picture."""
        return [
            [(self.address(c), float(s)) for c, s in zip(row, share, strict=True)][:count]
            for row, share in zip(self.channels.tolist(), self.shares.tolist(), strict=True)
        ]

    def address(self, channel: int) -> str:
        """Return the address of a channel, for use as a target or in `through`."""
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
    """Find the most relevant channels of a layer, with a conditional map for each.

    - `layer`: the layer with the channels; None: the deepest with rows and columns. `#call`
      selects one of several calls.
    - `method`: one of the LRP methods. - `count`: the number of channels.

    One backward pass computes the conditional maps of one rank for all pictures. The other
    parameters are those of `explain`. Raises SeewhyError for a layer without rows and columns,
    NotApplicable if the method does not apply to the model.
    """
    opened, chosen = as_model(model), as_method(method)
    check(count >= 1, f"relevant_channels() needs at least one channel, not {count}")
    if not isinstance(chosen, Relevance) or chosen.layer or chosen.through:
        raise SeewhyError(
            "relevant_channels() needs an LRP method without layer and through, such as "
            "lrp-epsilon-plus"
        )
    batch = pictures if isinstance(pictures, Batch) else opened.prepare(pictures)
    address = str(Address.parse(layer or opened.find_layer(batch.pixels)))
    if isinstance(target, MultiTarget) or Address.parse(address).channel is not None:
        raise SeewhyError(
            "relevant_channels() takes one target per picture, and a layer without channel"
        )
    explanation = explain(
        opened, batch, chosen, target,
        precision=precision, batch_size=batch_size, progress=progress,
    )  # fmt: skip
    (targets,) = questions(target, len(batch), opened, batch.pixels)
    settings = Settings(precision=precision, most=batch_size)

    def run_part(part: slice) -> tuple[Tensor, Tensor, Tensor]:
        pixels = batch.pixels[part]
        return _conditional(opened, pixels, chosen, address, count, targets[part], settings)

    sizer = BatchSizer(settings, batch.pixels, recorded=True, device=opened.device)
    parts = sizer.parts(len(batch), run_part, TooLarge(opened.name, *batch.pixels.shape[-2:]))
    relevance, channels, maps = (torch.cat(column) for column in zip(*parts, strict=True))
    return ChannelRelevance(address, explanation, relevance, channels, maps)


def _conditional(
    model: Model,
    pixels: Tensor,
    method: Relevance,
    address: str,
    count: int,
    targets: list[Target],
    settings: Settings,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the channels' relevance, the most relevant channels, and a map through each."""
    rules = method.rules()
    requests = [Request(address, rules), Request(INPUT, rules, (address,))]
    with recorded(model, pixels, requests, MultiTarget((targets,)), settings) as recording:
        at_layer, _ = recording.relevance(address, rules)
        relevance = recording.maps(address, at_layer).sum((2, 3))
        best = relevance.topk(min(count, relevance.shape[1])).indices
        maps = []
        for rank in best.T.tolist():
            channels = tuple(f"{address}:{channel}" for channel in rank)
            at_input, _ = recording.relevance(INPUT, rules, (channels,))
            maps.append(at_input.float().sum(1))
        return relevance.cpu(), best.cpu(), torch.stack(maps, 1).cpu()
