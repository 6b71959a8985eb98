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

One mask for several pictures (`together`) says which channels suffice for a class. What a channel
stands for is best seen in pictures where it is most active: `photographs` may be a folder of
thousands. It misleads where many sets of channels would do: it shows one of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seewhy.activations.exemplars import Exemplars, exemplars_of, find_exemplars
from seewhy.attribution.explain import Report, as_model
from seewhy.attribution.method import check
from seewhy.engine.recording import Recording, Request, recorded
from seewhy.errors import SeewhyError, TooLarge
from seewhy.images import Batch
from seewhy.models.addresses import Address
from seewhy.models.class_names import class_name
from seewhy.models.edits import Edit
from seewhy.models.hooks import hooked
from seewhy.models.layers import Layer
from seewhy.models.model import Model
from seewhy.results import Result
from seewhy.support.batching import BatchSizer
from seewhy.support.settings import Progress, Settings
from seewhy.targets.questions import questions
from seewhy.targets.terms import MultiTarget, TargetLike

T = TypeVar("T")

STEPS, RATE = 120, 0.05
PENALTY = (1.0, 300.0)  # lambda, from the first step to the last
CROPS = 3  # pictures of a channel, where there is a choice of pictures
RUN = 3  # what a step costs for a picture and a share, in photographs looked at


@dataclass(frozen=True, eq=False, repr=False)
class ExtremalChannels(Result):
    """The channels of a layer that suffice, and what is left of the answer with those alone.

    - `masks`: as learned, in [0, 1]; a share of the channels each; the same for all pictures if
    they were explained together.
    - `activity`: of each channel, its mean over rows and columns.
    - `exemplars`: where each channel is most active, in the photographs that were looked through
    or, if `photographs` is false, in the explained pictures themselves.
    - `whole`: the probability (of a target that is no class, and of a model whose outputs are no
    logits: the score) with all channels. - `kept`: with the best channels alone. - `same`:
    whether the most probable class is too.
    - `targets`: what was asked, in words. - `notes`: what has been found out on the way.
    """

    model: str
    layer: str
    shares: tuple[float, ...]
    masks: Float[Tensor, "pictures shares channels"]
    activity: Float[Tensor, "pictures channels"]
    exemplars: Exemplars
    whole: Float[Tensor, " pictures"]
    kept: Float[Tensor, "pictures shares"]
    same: Bool[Tensor, "pictures shares"]
    batch: Batch
    targets: tuple[str, ...]
    together: bool
    channels_axis: int
    dimensions: int
    photographs: bool = False
    notes: tuple[str, ...] = ()

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


def extremal_channels(
    model: "Model | nn.Module | str",
    pictures: Any,
    layer: str | None = None,
    target: TargetLike = None,
    shares: Sequence[float] = (0.1,),
    *,
    together: bool = False,
    steps: int = STEPS,
    photographs: Any = None,
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
    - `photographs`: in which the figure shows what channels see: pictures of any kind, any number
      of them, or the path of a folder; None: the explained ones. They are read a few at a time,
      run once, and read again where a crop is drawn. Those that cannot be read are left out.

    The other parameters are those of `explain`. Raises SeewhyError for a layer that is not there
    or a share that is none.
    """
    opened = as_model(model)
    batch = pictures if isinstance(pictures, Batch) else opened.prepare(pictures)
    shares = checked_shares(shares)
    check(steps >= 1, f"extremal_channels() needs at least one step, not {steps}")
    check(len(batch) > 0, "no pictures to explain")
    place = Address.parse(layer or opened.find_layer(batch.pixels))
    if isinstance(target, MultiTarget) or place.channel is not None or place.position is not None:
        raise SeewhyError("extremal_channels() takes one target each, and a whole layer")
    settings = Settings(most=batch_size, precision=precision)
    looking, learning = _progress(progress, steps * len(batch) * len(shares))
    with _recorded_in_parts(opened, batch, place, target, settings) as (recordings, sizer):
        masking = Masking(recordings, place)
        maps = masking.maps().cpu()
        # Before the masks: if there is something wrong with the photographs, it is known early.
        exemplars = (
            exemplars_of(maps, batch, CROPS if together else 1)
            if photographs is None
            else find_exemplars(opened, photographs, str(place), CROPS, settings, looking)
        )
        masks = masking.learned(shares, together, steps, learning)
        binary = torch.stack([best(masks[:, i], s) for i, s in enumerate(shares)], 1).float()
        whole, _ = masking.answers(torch.ones_like(masks[:, :1]))
        kept, predicted = masking.answers(binary)
        return ExtremalChannels(
            model=opened.name,
            layer=str(place),
            shares=shares,
            masks=masks.cpu(),
            activity=maps.mean((2, 3)),
            exemplars=exemplars,
            whole=whole[:, 0].cpu(),
            kept=kept.cpu(),
            same=(predicted == masking.predicted()[:, None]).cpu(),
            batch=batch,
            targets=tuple(target for recording in recordings for target in _targets(recording)),
            together=together,
            channels_axis=masking.axis,
            dimensions=masking.dimensions,
            photographs=photographs is not None,
            notes=_notes(sizer, masking.sizer, exemplars),
        )


@contextmanager
def _recorded_in_parts(
    model: Model, batch: Batch, place: Address, target: TargetLike, settings: Settings
) -> Iterator[tuple[list[Recording], BatchSizer]]:
    """Recordings of the pictures, in order, each of as many as memory holds."""
    (asked,) = questions(target, len(batch), model, batch.pixels)
    sizer = BatchSizer(settings, batch.pixels, recorded=True, device=model.device, most=len(batch))
    with ExitStack() as stack:

        def entered(some: slice) -> Recording:
            about, reading = MultiTarget((asked[some],)), Request(str(place), rules=None)
            part = recorded(model, batch.pixels[some], [reading], about, settings)
            return stack.enter_context(part)

        too_large = TooLarge(model.name, *batch.pixels.shape[-2:])
        yield list(sizer.parts(len(batch), entered, too_large)), sizer


class Masking:
    """The network of recordings, with masks over the channels of one layer.

    - `sizer`: the masks that are run together.
    """

    def __init__(self, recordings: Sequence[Recording], place: Address):
        first = recordings[0]
        assert first.layer_graph is not None
        layer = first.layer_graph.layer(place.layer)
        self._recordings, self._place = recordings, place
        self._sizes = [len(recording.pixels) for recording in recordings]
        self.maps()  # refuses a layer without rows and columns
        self._call = first.layer_graph.call(place)
        self.dimensions = len(layer.shape) + 1
        self.axis = _axis(layer, self.dimensions)
        self._channels = layer.channels
        # A mask in half precision would stop between two of its few values, and Adam divide by 0.
        self._wide = torch.promote_types(first.pixels.dtype, torch.float32)
        self.sizer = BatchSizer(first.settings, first.pixels)

    def maps(self) -> Float[Tensor, "pictures channels h w"]:
        """The layer's, unmasked."""
        return torch.cat([one.maps(str(self._place)) for one in self._recordings])

    def predicted(self) -> Int[Tensor, " pictures"]:
        """The most probable classes without a mask."""
        return torch.cat([one.logits.argmax(1) for one in self._recordings])

    def learned(
        self, shares: Sequence[float], together: bool, steps: int, tell: Progress | None
    ) -> Float[Tensor, "pictures shares channels"]:
        """Masks that keep the answer with a share of the channels."""
        pictures, device = sum(self._sizes), self._recordings[0].pixels.device
        wanted = torch.stack([_wanted(s, self._channels) for s in shares]).to(device, self._wide)
        mask = torch.ones(1 if together else pictures, len(shares), self._channels)
        mask = mask.to(device, self._wide).requires_grad_()
        optimiser = torch.optim.Adam([mask], RATE)

        def pulled(recording: Recording, rows: Tensor, masks: Tensor) -> Tensor:
            masks = masks.detach().requires_grad_()
            loss = -self._log(self._scores(recording, rows, masks)[0])
            return torch.autograd.grad(loss.sum() / (pictures if together else 1), masks)[0]

        for step in range(steps):
            optimiser.zero_grad()
            every = mask.expand(pictures, -1, -1)
            every.backward(torch.cat(self._each(every.detach(), pulled)).view_as(every))
            grown = PENALTY[0] * (PENALTY[1] / PENALTY[0]) ** (step / max(1, steps - 1))
            ordered = mask.sort(-1).values
            (grown * ((ordered - wanted) ** 2).mean(-1)).sum().backward()
            optimiser.step()
            with torch.no_grad():
                mask.clamp_(0, 1)
            if tell:
                tell(step + 1, steps)
        return mask.detach().expand(pictures, -1, -1).clone()

    @torch.no_grad()
    def answers(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities (or scores) of the targets, and the most probable classes."""
        parts = self._each(masks, self._scores)
        scores, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        return scores.float().view(masks.shape[:2]), logits.argmax(-1).view(masks.shape[:2])

    def _each(
        self,
        masks: Float[Tensor, "pictures shares channels"],
        run: Callable[[Recording, Tensor, Tensor], T],
    ) -> list[T]:
        """What `run` says of the masks, of as many together as memory holds, in order.

        It gets a recording, and of each mask the number of its picture there and the mask.
        """
        found: list[T] = []
        shares = masks.shape[1]
        for recording, own in zip(self._recordings, masks.split(self._sizes), strict=True):
            flat = own.flatten(0, 1)

            def of_some(some: slice, recording: Recording = recording, flat: Tensor = flat) -> T:
                rows = torch.arange(some.start, some.stop) // shares
                return run(recording, rows, flat[some])

            too_large = TooLarge(recording.model.name, *recording.pixels.shape[-2:])
            found += self.sizer.parts(len(flat), of_some, too_large)
        return found

    def _scores(
        self, recording: Recording, rows: Tensor, masks: Float[Tensor, "variants channels"]
    ) -> tuple[Float[Tensor, " variants"], Float[Tensor, "variants classes"]]:
        """Probability and logits of the pictures `rows` under a mask each."""
        shape = [len(masks)] + [1] * (self.dimensions - 1)
        shape[self.axis] = -1

        def masked(activation: Tensor, call: int) -> Tensor | None:
            return activation * masks.view(shape).to(activation) if call == self._call else None

        with hooked(recording.model.net, {self._place.layer: masked}):
            outputs = recording.run(recording.pixels.detach()[rows])
        outputs = replace(outputs, logits=outputs.logits.to(self._wide))
        return recording.asked.rows(rows).probability(outputs), outputs.logits

    def _log(self, scores: Tensor) -> Tensor:
        """Of probabilities the logarithm, of other scores the share of what they were."""
        if self._recordings[0].model.raw or any(one.watched for one in self._recordings):
            whole = torch.cat([one.score for one in self._recordings])
            return scores / whole.abs().mean().clamp_min(1e-6)
        return scores.clamp_min(1e-12).log()


def best(
    masks: Float[Tensor, "pictures channels"], share: float
) -> Bool[Tensor, "pictures channels"]:
    """The channels of the largest values, as many as the share allows and at least one."""
    chosen = masks.topk(how_many(share, masks.shape[1])).indices
    return torch.zeros_like(masks, dtype=torch.bool).scatter(1, chosen, True)


def checked_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Shares of the channels; raises SeewhyError unless each is between 0 and 1."""
    found = tuple(float(share) for share in shares)
    check(bool(found) and all(0 < s < 1 for s in found), f"shares lie between 0 and 1: {found}")
    return found


def how_many(share: float, channels: int) -> int:
    """The number of channels that a share of them is."""
    return max(1, round(share * channels))


def _wanted(share: float, channels: int) -> Tensor:
    """r_a in the order of a sorted mask: zeros, then ones."""
    wanted = torch.zeros(channels)
    wanted[channels - how_many(share, channels) :] = 1
    return wanted


def _progress(report: Report | None, runs: int) -> tuple[Progress | None, Progress | None]:
    """What to call after photographs and after steps, of which a batch runs so many variants."""
    if report is None:
        return None, None
    looked = 0.0  # the share of all work

    def looking(done: int, of: int) -> None:
        nonlocal looked
        looked = done / (of + RUN * runs)
        report("photographs", looked)

    def learning(done: int, of: int) -> None:
        report("extremal channels", looked + (1 - looked) * done / of)

    return looking, learning


def _notes(recorded: BatchSizer, masked: BatchSizer, exemplars: Exemplars) -> tuple[str, ...]:
    """What to tell the user, each thing once."""
    notes = (recorded.note, masked.note, *exemplars.notes)
    return tuple(dict.fromkeys(note for note in notes if note))


def _axis(layer: Layer, dimensions: int) -> int:
    first = layer.grid is None or layer.grid.layout == "channels-first"
    return 1 if first else dimensions - 1


def _targets(recording: Recording) -> tuple[str, ...]:
    classes, labels = recording.model.classes, recording.asked.labels
    return tuple(
        class_name(index, classes) if index >= 0 else label
        for index, label in zip(recording.target.tolist(), labels, strict=True)
    )
