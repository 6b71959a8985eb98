"""Which channels of a layer suffice for the decision?

A mask m in [0, 1] over the channels of a layer multiplies their activation; for a share a of the
channels it is learned to

    minimise  -log p(target | m * activation) + lambda_t * mean over channels (sort m - r_a)^2

where r_a holds as many ones as channels may be kept, then zeros, and lambda_t grows, so that the
mask ends up almost binary. Ruth Fong, Mandela Patrick, Andrea Vedaldi: Understanding Deep Networks
via Extremal Perturbations and Smooth Masks, 2019, arXiv 1910.08485, section 4.

    found = seewhy.extremal_channels(model, "dog.jpg", layer="layer3", shares=(0.05, 0.1))
    found.kept                        # the probability that is left, picture by picture
    found.save("channels.png")
    with seewhy.edited(model, found.edits(0, 0.1)):       # the network with those channels alone
        ...

One mask for several pictures (`together`) says which channels suffice for a class. It misleads
where many sets of channels would do: it shows one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seewhy.addresses import Address
from seewhy.attribution.method import check
from seewhy.errors import SeewhyError
from seewhy.explaining import Report, as_model
from seewhy.images import Batch
from seewhy.layers import Layer
from seewhy.model import Model
from seewhy.recording import Reading, Recording, recorded
from seewhy.settings import Settings
from seewhy.tap import Edit
from seewhy.targets import Each, Target, class_name
from seewhy.visiting import visiting

STEPS, RATE = 120, 0.05
PENALTY = (1.0, 300.0)  # lambda, from the first step to the last


@dataclass(frozen=True, eq=False)
class ExtremalChannels:
    """The channels of a layer that suffice, and what is left of the answer with those alone.

    - `masks`: as learned, in [0, 1]; a share of the channels each; the same for all pictures if
    they were explained together.
    - `activity`: of each channel, its mean over rows and columns. - `peaks`: how active it is
    where it is most active, and the row and column of that, as shares of the picture's sides.
    - `whole`: the probability (of a target that is no class: the score) with all channels.
    - `kept`: with the best channels alone. - `same`: whether the most probable class is too.
    - `targets`: what was asked, in words.
    """

    model: str
    layer: str
    shares: tuple[float, ...]
    masks: Float[Tensor, "pictures shares channels"]
    activity: Float[Tensor, "pictures channels"]
    peaks: Float[Tensor, "pictures channels 3"]
    whole: Float[Tensor, " pictures"]
    kept: Float[Tensor, "pictures shares"]
    same: Bool[Tensor, "pictures shares"]
    batch: Batch
    targets: tuple[str, ...]
    together: bool
    channels_axis: int
    dimensions: int

    def __len__(self) -> int:
        return len(self.masks)

    def chosen(self, share: float) -> Bool[Tensor, "pictures channels"]:
        """The best channels, as many as the share allows."""
        return best(self.masks[:, self._place(share)], share)

    def ranked(self, share: float) -> Int[Tensor, "pictures count"]:
        """The indices of the best channels, best first."""
        mask = self.masks[:, self._place(share)]
        # Of channels that the mask keeps alike, the more active ones first.
        order = mask.round(decimals=2) + 1e-3 * F.normalize(self.activity, p=torch.inf)
        return order.topk(how_many(share, mask.shape[1])).indices

    def edits(self, picture: int, share: float) -> Mapping[str, Edit]:
        """For `seewhy.edited`: all other channels are set to zero."""
        kept = self.chosen(share)[picture].float()
        shape = [1] * self.dimensions
        shape[self.channels_axis] = -1
        return {self.layer: lambda activation: activation * kept.to(activation).view(shape)}

    def _place(self, share: float) -> int:
        if share not in self.shares:
            raise SeewhyError(f"masks were learned for the shares {self.shares}, not for {share}")
        return self.shares.index(share)

    def summary(self) -> str:
        """The layer, and a line a picture with what is left of its answer."""
        from seewhy.show.channel_masks import summary

        return summary(self)

    def save(self, path: str | Path) -> Path:
        """Save by suffix: .png (figure) or .json (channels and what they keep)."""
        from seewhy.show.channel_masks import save

        return save(self, path)

    def show(self) -> Any:
        """A matplotlib figure: a row a picture, with crops of what its best channels see."""
        from seewhy.show.channel_masks import figure

        return figure(self)


def extremal_channels(
    model: "Model | nn.Module | str",
    pictures: Any,
    layer: str | None = None,
    target: Target = None,
    shares: Sequence[float] = (0.1,),
    *,
    together: bool = False,
    steps: int = STEPS,
    batch_size: int | None = None,
    precision: str = "full",
    progress: Report | None = None,
) -> ExtremalChannels:
    """The channels of a layer that suffice for the answer.

    - `layer`: whose channels; None: the deepest with rows and columns.
    - `shares`: of the channels that may be kept, each between 0 and 1.
    - `together`: one mask for all pictures, so that it tells about their class; else one each.
    - `steps`: of the optimisation; each costs a forward for every picture and share, and a
      backward from the answer to the layer.

    The other parameters are those of `explain`. Raises SeewhyError for a layer that is not there
    or a share that is none.
    """
    opened = as_model(model)
    batch = pictures if isinstance(pictures, Batch) else opened.prepare(pictures)
    shares = tuple(float(share) for share in shares)
    check(bool(shares) and all(0 < s < 1 for s in shares), f"shares lie between 0 and 1: {shares}")
    check(steps >= 1, f"extremal_channels() needs at least one step, not {steps}")
    check(len(batch) > 0, "no pictures to explain")
    place = Address.parse(layer or opened.find_layer(batch.pixels))
    if isinstance(target, Each) or place.channel is not None or place.position is not None:
        raise SeewhyError("extremal_channels() takes one target each, and a whole layer")
    settings = Settings(most=batch_size, precision=precision)
    with recorded(
        opened, batch.pixels, [Reading(str(place), rules=None)], target, settings
    ) as recording:
        masking = Masking(recording, place)
        masks = masking.learned(shares, together, steps, progress)
        binary = torch.stack([best(masks[:, i], s) for i, s in enumerate(shares)], 1).float()
        whole, _ = masking.answers(torch.ones_like(masks[:, :1]))
        kept, predicted = masking.answers(binary)
        maps = recording.maps(str(place)).cpu()
        return ExtremalChannels(
            model=opened.name,
            layer=str(place),
            shares=shares,
            masks=masks.cpu(),
            activity=maps.mean((2, 3)),
            peaks=_peaks(maps),
            whole=whole[:, 0].cpu(),
            kept=kept.cpu(),
            same=(predicted == recording.logits.argmax(1)[:, None]).cpu(),
            batch=batch,
            targets=_targets(recording),
            together=together,
            channels_axis=masking.axis,
            dimensions=masking.dimensions,
        )


class Masking:
    """The network of a recording, with masks over the channels of one layer."""

    def __init__(self, recording: Recording, place: Address):
        assert recording.anatomy is not None
        layer = recording.anatomy.layer(place.layer)
        recording.maps(str(place))  # refuses a layer without rows and columns
        self._recording, self._place = recording, place
        self._call = recording.anatomy.call(place)
        self.dimensions = len(layer.shape) + 1
        self.axis = _axis(layer, self.dimensions)
        self._channels = layer.channels

    def learned(
        self, shares: Sequence[float], together: bool, steps: int, progress: Report | None
    ) -> Float[Tensor, "pictures shares channels"]:
        """Masks that keep the answer with a share of the channels."""
        recording = self._recording
        pictures = len(recording.pixels)
        wanted = torch.stack([_wanted(s, self._channels) for s in shares]).to(recording.pixels)
        mask = torch.ones(1 if together else pictures, len(shares), self._channels)
        mask = mask.to(recording.pixels).requires_grad_()
        optimiser = torch.optim.Adam([mask], RATE)
        for step in range(steps):
            optimiser.zero_grad()
            for some in self._parts(len(shares)):
                loss = -self._log(self._scores(some, mask.expand(pictures, -1, -1)[some])[0])
                (loss.sum() / (pictures if together else 1)).backward()
            grown = PENALTY[0] * (PENALTY[1] / PENALTY[0]) ** (step / max(1, steps - 1))
            ordered = mask.sort(-1).values
            (grown * ((ordered - wanted) ** 2).mean(-1)).sum().backward()
            optimiser.step()
            with torch.no_grad():
                mask.clamp_(0, 1)
            if progress:
                progress("extremal channels", (step + 1) / steps)
        return mask.detach().expand(pictures, -1, -1).clone()

    @torch.no_grad()
    def answers(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities (or scores) of the targets, and the most probable classes."""
        parts = [self._scores(some, masks[some]) for some in self._parts(masks.shape[1])]
        scores, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        return scores.float(), logits.argmax(-1)

    def _scores(self, pictures: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Probability and logits of each picture under each of its masks."""
        flat = masks.flatten(0, 1)
        shape = [len(flat)] + [1] * (self.dimensions - 1)
        shape[self.axis] = -1

        def masked(activation: Tensor, call: int) -> Tensor | None:
            return activation * flat.view(shape).to(activation) if call == self._call else None

        recording, rows = self._recording, pictures.repeat_interleave(masks.shape[1])
        with visiting(recording.model.net, {self._place.layer: masked}):
            outputs = recording.run(recording.pixels.detach()[rows])
        scores = recording.asked.rows(rows).probability(outputs)
        return scores.view(masks.shape[:2]), outputs.logits.view(*masks.shape[:2], -1)

    def _log(self, scores: Tensor) -> Tensor:
        """Of probabilities the logarithm, of other scores the share of what they were."""
        if self._recording.watched or self._recording.model.raw:
            return scores / self._recording.score.abs().mean().clamp_min(1e-6)
        return scores.clamp_min(1e-12).log()

    def _parts(self, shares: int) -> list[Tensor]:
        recording = self._recording
        together = recording.settings.pictures_together(recording.pixels, recording.model.device)
        return list(torch.arange(len(recording.pixels)).split(max(1, 4 * together // shares)))


def best(
    masks: Float[Tensor, "pictures channels"], share: float
) -> Bool[Tensor, "pictures channels"]:
    """The channels of the largest values, as many as the share allows and at least one."""
    chosen = masks.topk(how_many(share, masks.shape[1])).indices
    return torch.zeros_like(masks, dtype=torch.bool).scatter(1, chosen, True)


def how_many(share: float, channels: int) -> int:
    """The number of channels that a share of them is."""
    return max(1, round(share * channels))


def _wanted(share: float, channels: int) -> Tensor:
    """r_a in the order of a sorted mask: zeros, then ones."""
    wanted = torch.zeros(channels)
    wanted[channels - how_many(share, channels) :] = 1
    return wanted


def _peaks(maps: Float[Tensor, "pictures channels h w"]) -> Float[Tensor, "pictures channels 3"]:
    """Value, row and column of each map's maximum; the place as shares of the sides."""
    height, width = maps.shape[-2:]
    value, where = maps.flatten(2).max(2)
    row, column = where // width, where % width
    return torch.stack([value, (row + 0.5) / height, (column + 0.5) / width], 2)


def _axis(layer: Layer, dimensions: int) -> int:
    first = layer.grid is None or layer.grid.layout == "channels-first"
    return 1 if first else dimensions - 1


def _targets(recording: Recording) -> tuple[str, ...]:
    classes, labels = recording.model.classes, recording.asked.labels
    return tuple(
        class_name(index, classes) if index >= 0 else label
        for index, label in zip(recording.target.tolist(), labels, strict=True)
    )
