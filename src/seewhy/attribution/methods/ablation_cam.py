"""Ablation-CAM: how much of the score goes when a channel is taken away?

    relu(sum over channels k of w_k * A_k),   w_k = (y - y_k) / |y|

with y the score and y_k that of the network with channel k of the layer at zero. Saurabh Desai,
Harish Ramaswamy: Ablation-CAM, WACV 2020. They divide by y, which is the same where y is positive;
where it is not, evidence would become evidence against.

What comes before the layer is run once for many channels, where the network allows that; tried
on two channels, and else the whole network is run for each. The cost counts a forward for each
either way, and the note says where it is only the end of one. A channel that is zero everywhere
needs no forward.

It misleads where channels stand in for each other: taking one away changes little.

    seewhy.explain(model, "dog.jpg", "ablation-cam", layer="layer4")
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.methods.scored_cams import ScoredCAM
from seewhy.engine.recording import Recording
from seewhy.models.addresses import Address
from seewhy.models.hooks import hooked
from seewhy.support.batching import BatchSizer, out_of_memory
from seewhy.targets.scores import Outputs

# How much of the largest logit the two ways may differ by.
ROUNDING = {"full": 1e-4, "fast": 2e-2}

# A picture's pixel goes through a network as about so many numbers at a time.
NUMBERS_PER_PIXEL = 64


@dataclass(frozen=True)
class AblationCAM(ScoredCAM):
    """Feature maps, weighted by the share of the score that goes with each.

    - `layer`: whose maps; None: found, and reported. - `relu`: keep only evidence for the class.
    """

    name = "ablation-cam"
    question = "How much of the score goes when a channel is taken away?"
    source = "Desai, Ramaswamy 2020, WACV"

    def weights(
        self, recording: Recording, layer: str
    ) -> Float[Tensor, "questions batch channels"]:
        """From one forward, or the end of one, for each channel that is not zero."""
        maps = recording.maps(layer)
        ablations = Ablations(recording, Address.parse(layer))
        weights = torch.zeros(len(recording.scores), *maps.shape[:2], device=maps.device)
        for picture in range(len(maps)):
            alive = maps[picture].flatten(1).any(1).nonzero()[:, 0]
            whole, *without = ablations.scores(picture, [None, *alive.tolist()]).unbind(1)
            if without:
                share = (whole[:, None] - torch.stack(without, 1)) / whole.abs()[:, None]
                weights[:, picture, alive] = share.nan_to_num(0, 0, 0)
            if recording.settings.progress:
                recording.settings.progress(picture + 1, len(maps))
        recording.notes += [note for note in (ablations.note, ablations.room.note) if note]
        return weights


class Ablations:
    """Scores of pictures with one channel of a layer at zero.

    - `short`: whether what comes before the layer is run once for all channels of a forward.
    - `room`: the channels that go together.
    """

    def __init__(self, recording: Recording, address: Address):
        self._recording, self._address = recording, address
        layer_graph = recording.layer_graph
        assert layer_graph is not None, "the layer was read"
        self._anatomy, self._call = layer_graph, layer_graph.call(address)
        self.short = self._is_short()
        area = None
        if self.short:
            area = recording.activation(str(address))[0].numel() / NUMBERS_PER_PIXEL
        self.room = BatchSizer(recording.settings, recording.pixels, area=area)

    @property
    def note(self) -> str | None:
        """What to say of the forwards that are counted."""
        if not self.short:
            return None
        return f"forwards are counted whole; what comes before {self._address} is shared by many"

    def scores(
        self, picture: int, channels: Sequence[int | None]
    ) -> Float[Tensor, "questions channels"]:
        """The scores of one picture without each channel; None takes nothing away."""

        def some_scores(some: slice) -> Tensor:
            outputs = self._outputs(picture, channels[some], self.short)
            rows = torch.full((some.stop - some.start,), picture)
            return torch.stack([s.rows(rows).of(outputs) for s in self._recording.scores]).float()

        return torch.cat(list(self.room.parts(len(channels), some_scores)), 1)

    def _is_short(self) -> bool:
        """Whether the short way can be gone: tried on the first picture."""
        recording = self._recording
        if recording.watched or recording.model.edits:
            return False
        strongest = recording.maps(str(self._address))[0].abs().amax((1, 2))
        channels = strongest.topk(min(2, len(strongest))).indices.tolist()
        try:
            whole = self._outputs(0, channels, short=False).logits
        except Exception as error:
            if not out_of_memory(error):
                raise
            return False  # it cannot be told
        try:
            short = self._outputs(0, channels, short=True).logits
        except Exception:
            return False
        tolerance = ROUNDING[recording.settings.precision] * whole.abs().amax()
        return bool((short - whole).abs().amax() <= tolerance)

    @torch.no_grad()
    def _outputs(self, picture: int, channels: Sequence[int | None], short: bool) -> Outputs:
        recording, model, count = self._recording, self._recording.model, len(channels)
        pixels = recording.pixels[picture, None].detach()

        def ablate(tensor: Tensor, call: int) -> Tensor | None:
            if call != self._call:
                return None
            new = torch.cat([tensor] * count) if short else tensor.clone()
            for row, channel in enumerate(channels):
                if channel is not None:
                    new[row, None][self._where(channel)] = 0
            return new

        with hooked(model.net, {self._address.layer: ablate}):
            if not short:
                return recording.run(pixels.expand(count, -1, -1, -1))
            fast = recording.settings.precision == "fast"
            with torch.autocast(model.device.type, torch.bfloat16, enabled=fast):
                logits = model.logits(model.net, model.normalised(pixels), count)
            recording.cost.ran(forwards=count / len(recording.pixels))
        return Outputs(logits, {}, None)

    def _where(self, channel: int) -> tuple:
        """Where a channel lies in the activation of one picture."""
        named = self._address.channel
        address = dataclasses.replace(self._address, channel=channel if named is None else named)
        return self._anatomy.index(address)
