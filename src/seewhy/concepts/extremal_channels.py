"""Which channels of a layer suffice for the decision?

A mask m in [0, 1], with one value per channel, multiplies the activation of a layer. For a share a
of the channels, it is optimised to

    minimise  -log p(target | m * activation) + lambda_t * mean over channels (sort m - r_a)^2

where r_a has a one for each channel that may be kept and zeros for the rest, in sorted order, and
lambda_t grows, so that the mask becomes almost binary. Ruth Fong, Mandela Patrick, Andrea Vedaldi:
Understanding Deep Networks via Extremal Perturbations and Smooth Masks, 2019, arXiv 1910.08485,
section 4.

    result = seewhy.extremal_channels(model, "dog.jpg", layer="layer3", shares=(0.05, 0.1))
    result.kept                       # the remaining probability, per picture
    result.save("channels.png")
    with seewhy.edited(model, result.edits(0, 0.1)):      # the network with only those channels
        ...

One mask for several pictures (`together`) shows which channels suffice for a class. The pictures
in which a channel is most active show best what it responds to; `photographs` may be a folder of
thousands of pictures. The result is misleading if many sets of channels suffice, because it shows
only one of them.
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
PENALTY = (1.0, 300.0)  # lambda, at the first and the last step
CROPS = 3  # pictures per channel, if there are several to choose from
STEP_COST = 3  # of one step for one picture and share, relative to searching one photograph


@dataclass(frozen=True, eq=False, repr=False)
class ExtremalChannels(Result):
    """The channels of a layer that suffice, and the probability that they keep on their own.

    - `masks`: the optimised masks, in [0, 1], one per share; identical for all pictures if these
    were explained together.
    - `activity`: the mean activation of each channel over rows and columns.
    - `exemplars`: where each channel is most active, in the given photographs or, if
    `photographs` is false, in the explained pictures themselves.
    - `whole`: the probability of the target with all channels; the score if the target is not a
    class or the model's outputs are not logits. - `kept`: the same with only the best channels.
    - `same`: whether the predicted class is then still the same.
    - `targets`: descriptions of the targets. - `notes`: messages for the user.
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
        """Return a mask of the best channels, as many as the share allows."""
        return best(self.masks[:, self._share_index(share)], share)

    def ranked(self, share: float) -> Int[Tensor, "pictures count"]:
        """Return the indices of the best channels, best first."""
        mask = self.masks[:, self._share_index(share)]
        # Channels with equal mask values are ordered by activity.
        order = mask.round(decimals=2) + 1e-3 * F.normalize(self.activity, p=torch.inf)
        return order.topk(how_many(share, mask.shape[1])).indices

    def edits(self, picture: int, share: float) -> Mapping[str, Edit]:
        """Return edits for `seewhy.edited` that set all other channels to zero."""
        kept = self.chosen(share)[picture].float()
        shape = [1] * self.dimensions
        shape[self.channels_axis] = -1
        return {self.layer: lambda activation: activation * kept.to(activation).view(shape)}

    def _share_index(self, share: float) -> int:
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
    """Find the channels of a layer that suffice for the target.

    - `layer`: the layer with the channels; None: the deepest with rows and columns.
    - `shares`: the shares of the channels that may be kept, each between 0 and 1.
    - `together`: learn one mask for all pictures, which describes their class; else one for each.
    - `steps`: optimisation steps; each takes a forward pass for every picture and share, and a
      backward pass from the target to the layer.
    - `photographs`: pictures in which the figure shows what channels respond to: any number of
      pictures of any kind, or the path of a folder; None: the explained pictures. They are read a
      few at a time, run once, and read again to draw a crop. Unreadable files are left out.

    The other parameters are those of `explain`. Raises SeewhyError for a layer that does not exist
    or a share outside (0, 1).
    """
    opened = as_model(model)
    batch = pictures if isinstance(pictures, Batch) else opened.prepare(pictures)
    shares = checked_shares(shares)
    check(steps >= 1, f"extremal_channels() needs at least one step, not {steps}")
    check(len(batch) > 0, "no pictures to explain")
    address = Address.parse(layer or opened.find_layer(batch.pixels))
    if (
        isinstance(target, MultiTarget)
        or address.channel is not None
        or address.position is not None
    ):
        raise SeewhyError(
            "extremal_channels() takes one target per picture, and a layer without channel or "
            "position"
        )
    settings = Settings(most=batch_size, precision=precision)
    report_search, report_step = _progress_reports(progress, steps * len(batch) * len(shares))
    with _recorded_in_parts(opened, batch, address, target, settings) as (recordings, sizer):
        masking = Masking(recordings, address)
        maps = masking.maps().cpu()
        # Before the masks are learned, so that unreadable photographs raise an error early.
        exemplars = (
            exemplars_of(maps, batch, CROPS if together else 1)
            if photographs is None
            else find_exemplars(opened, photographs, str(address), CROPS, settings, report_search)
        )
        masks = masking.learned(shares, together, steps, report_step)
        binary = torch.stack([best(masks[:, i], s) for i, s in enumerate(shares)], 1).float()
        whole, _ = masking.answers(torch.ones_like(masks[:, :1]))
        kept, predicted = masking.answers(binary)
        return ExtremalChannels(
            model=opened.name,
            layer=str(address),
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
    model: Model, batch: Batch, address: Address, target: TargetLike, settings: Settings
) -> Iterator[tuple[list[Recording], BatchSizer]]:
    """Record the pictures in order, in parts as large as memory allows."""
    (targets,) = questions(target, len(batch), model, batch.pixels)
    sizer = BatchSizer(settings, batch.pixels, recorded=True, device=model.device, most=len(batch))
    with ExitStack() as stack:

        def record(part: slice) -> Recording:
            pixels, request = batch.pixels[part], Request(str(address), rules=None)
            recording = recorded(model, pixels, [request], MultiTarget((targets[part],)), settings)
            return stack.enter_context(recording)

        too_large = TooLarge(model.name, *batch.pixels.shape[-2:])
        yield list(sizer.parts(len(batch), record, too_large)), sizer


class Masking:
    """Runs a recorded network with masks over the channels of one layer.

    - `sizer`: decides how many masks share a forward pass.
    """

    def __init__(self, recordings: Sequence[Recording], address: Address):
        first = recordings[0]
        assert first.layer_graph is not None
        layer = first.layer_graph.layer(address.layer)
        self._recordings, self._address = recordings, address
        self._sizes = [len(recording.pixels) for recording in recordings]
        self.maps()  # raises for a layer without rows and columns
        self._call = first.layer_graph.call(address)
        self.dimensions = len(layer.shape) + 1
        self.axis = _axis(layer, self.dimensions)
        self._channels = layer.channels
        # In half precision, small steps would not change the mask, and Adam would divide by 0.
        self._wide = torch.promote_types(first.pixels.dtype, torch.float32)
        self.sizer = BatchSizer(first.settings, first.pixels)

    def maps(self) -> Float[Tensor, "pictures channels h w"]:
        """Return the maps of the layer, without a mask."""
        return torch.cat([recording.maps(str(self._address)) for recording in self._recordings])

    def predicted(self) -> Int[Tensor, " pictures"]:
        """Return the predicted classes, without a mask."""
        return torch.cat([recording.logits.argmax(1) for recording in self._recordings])

    def learned(
        self, shares: Sequence[float], together: bool, steps: int, report: Progress | None
    ) -> Float[Tensor, "pictures shares channels"]:
        """Optimise masks that keep the target's probability with a share of the channels."""
        pictures, device = sum(self._sizes), self._recordings[0].pixels.device
        ideal = torch.stack([_ideal(s, self._channels) for s in shares]).to(device, self._wide)
        mask = torch.ones(1 if together else pictures, len(shares), self._channels)
        mask = mask.to(device, self._wide).requires_grad_()
        optimiser = torch.optim.Adam([mask], RATE)

        def gradient(recording: Recording, rows: Tensor, masks: Tensor) -> Tensor:
            masks = masks.detach().requires_grad_()
            loss = -self._log(self._scores(recording, rows, masks)[0])
            return torch.autograd.grad(loss.sum() / (pictures if together else 1), masks)[0]

        for step in range(steps):
            optimiser.zero_grad()
            expanded = mask.expand(pictures, -1, -1)
            gradients = torch.cat(self._each(expanded.detach(), gradient))
            expanded.backward(gradients.view_as(expanded))
            penalty = PENALTY[0] * (PENALTY[1] / PENALTY[0]) ** (step / max(1, steps - 1))
            ordered = mask.sort(-1).values
            (penalty * ((ordered - ideal) ** 2).mean(-1)).sum().backward()
            optimiser.step()
            with torch.no_grad():
                mask.clamp_(0, 1)
            if report:
                report(step + 1, steps)
        return mask.detach().expand(pictures, -1, -1).clone()

    @torch.no_grad()
    def answers(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities (or scores) of the targets, and the predicted classes."""
        parts = self._each(masks, self._scores)
        scores, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        return scores.float().view(masks.shape[:2]), logits.argmax(-1).view(masks.shape[:2])

    def _each(
        self,
        masks: Float[Tensor, "pictures shares channels"],
        run: Callable[[Recording, Tensor, Tensor], T],
    ) -> list[T]:
        """Call `run` for all masks in order, with as many at once as memory allows.

        Its arguments are a recording, the index of each mask's picture there, and the masks.
        """
        results: list[T] = []
        shares = masks.shape[1]
        for recording, its_masks in zip(self._recordings, masks.split(self._sizes), strict=True):
            flat = its_masks.flatten(0, 1)

            def run_part(part: slice, recording: Recording = recording, flat: Tensor = flat) -> T:
                rows = torch.arange(part.start, part.stop) // shares
                return run(recording, rows, flat[part])

            too_large = TooLarge(recording.model.name, *recording.pixels.shape[-2:])
            results += self.sizer.parts(len(flat), run_part, too_large)
        return results

    def _scores(
        self, recording: Recording, rows: Tensor, masks: Float[Tensor, "variants channels"]
    ) -> tuple[Float[Tensor, " variants"], Float[Tensor, "variants classes"]]:
        """Return probabilities and logits of the pictures `rows`, each with its own mask."""
        shape = [len(masks)] + [1] * (self.dimensions - 1)
        shape[self.axis] = -1

        def masked(activation: Tensor, call: int) -> Tensor | None:
            return activation * masks.view(shape).to(activation) if call == self._call else None

        with hooked(recording.model.net, {self._address.layer: masked}):
            outputs = recording.run(recording.pixels.detach()[rows])
        outputs = replace(outputs, logits=outputs.logits.to(self._wide))
        return recording.asked.rows(rows).probability(outputs), outputs.logits

    def _log(self, scores: Tensor) -> Tensor:
        """Return the logarithm of probabilities, or other scores relative to the unmasked ones."""
        if self._recordings[0].model.raw or any(
            recording.watched for recording in self._recordings
        ):
            whole = torch.cat([recording.score for recording in self._recordings])
            return scores / whole.abs().mean().clamp_min(1e-6)
        return scores.clamp_min(1e-12).log()


def best(
    masks: Float[Tensor, "pictures channels"], share: float
) -> Bool[Tensor, "pictures channels"]:
    """Return the channels with the largest values: as many as the share allows, at least one."""
    chosen = masks.topk(how_many(share, masks.shape[1])).indices
    return torch.zeros_like(masks, dtype=torch.bool).scatter(1, chosen, True)


def checked_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Return the shares as floats; raises SeewhyError unless each is between 0 and 1."""
    checked = tuple(float(share) for share in shares)
    valid = bool(checked) and all(0 < share < 1 for share in checked)
    check(valid, f"shares must be between 0 and 1, not {checked}")
    return checked


def how_many(share: float, channels: int) -> int:
    """Return the number of channels that a share allows, at least one."""
    return max(1, round(share * channels))


def _ideal(share: float, channels: int) -> Tensor:
    """Return r_a in the order of a sorted mask: zeros, then ones."""
    ideal = torch.zeros(channels)
    ideal[channels - how_many(share, channels) :] = 1
    return ideal


def _progress_reports(report: Report | None, runs: int) -> tuple[Progress | None, Progress | None]:
    """Return the callbacks for the search and the steps, which run `runs` variants in total."""
    if report is None:
        return None, None
    searched = 0.0  # share of the total work

    def report_search(done: int, of: int) -> None:
        nonlocal searched
        searched = done / (of + STEP_COST * runs)
        report("photographs", searched)

    def report_step(done: int, of: int) -> None:
        report("extremal channels", searched + (1 - searched) * done / of)

    return report_search, report_step


def _notes(recorded: BatchSizer, masked: BatchSizer, exemplars: Exemplars) -> tuple[str, ...]:
    """Collect the notes for the user, without duplicates."""
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
