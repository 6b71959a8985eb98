"""Ablation-CAM: how much of the score is lost when a channel is set to zero?

    relu(sum over channels k of w_k * A_k),   w_k = (y - y_k) / |y|

with y the score and y_k the score when channel k of the layer is set to zero. Saurabh Desai, Harish
Ramaswamy: Ablation-CAM, WACV 2020. The paper divides by y, which is the same for positive y; for
negative y, it would invert the sign of the evidence.

The part of the network before the layer is run once for many channels, if two test channels give
the same logits that way; otherwise the whole network is run for each channel. The cost counts one
forward pass per channel in both cases, and a note says when only the part after the layer was run.
A channel that is zero everywhere needs no forward pass.

It misleads where channels are redundant: removing one of them changes little.

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

# Tolerance between the two ways of running, as a fraction of the largest logit.
ROUNDING = {"full": 1e-4, "fast": 2e-2}

# Typical number of activations per input pixel that a network holds at a time.
NUMBERS_PER_PIXEL = 64


@dataclass(frozen=True)
class AblationCAM(ScoredCAM):
    """Feature maps, each weighted by the share of the score that is lost without it.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    """

    name = "ablation-cam"
    question = "How much of the score is lost when a channel is set to zero?"
    source = "Desai, Ramaswamy 2020, WACV"

    def weights(
        self, recording: Recording, layer: str
    ) -> Float[Tensor, "questions batch channels"]:
        """Return the weights, from one ablated forward pass per channel that is not zero."""
        maps = recording.maps(layer)
        ablations = Ablations(recording, Address.parse(layer))
        weights = torch.zeros(len(recording.scores), *maps.shape[:2], device=maps.device)
        for picture in range(len(maps)):
            alive = maps[picture].flatten(1).any(1).nonzero()[:, 0]
            score, *ablated = ablations.scores(picture, [None, *alive.tolist()]).unbind(1)
            if ablated:
                share = (score[:, None] - torch.stack(ablated, 1)) / score.abs()[:, None]
                weights[:, picture, alive] = share.nan_to_num(0, 0, 0)
            if recording.settings.progress:
                recording.settings.progress(picture + 1, len(maps))
        recording.notes += [note for note in (ablations.note, ablations.sizer.note) if note]
        return weights


class Ablations:
    """Scores of pictures with one channel of a layer set to zero.

    - `short`: whether the part before the layer is run once per batch of channels.
    - `sizer`: chooses how many channels share a forward pass.
    """

    def __init__(self, recording: Recording, address: Address):
        self._recording, self._address = recording, address
        layer_graph = recording.layer_graph
        assert layer_graph is not None, "requesting a layer makes the layer graph"
        self._layer_graph, self._call = layer_graph, layer_graph.call(address)
        self.short = self._is_short()
        area = None
        if self.short:
            area = recording.activation(str(address))[0].numel() / NUMBERS_PER_PIXEL
        self.sizer = BatchSizer(recording.settings, recording.pixels, area=area)

    @property
    def note(self) -> str | None:
        """A message on how forward passes are counted if only a part of each was run, else None."""
        if not self.short:
            return None
        return f"forwards are counted in full, although many share the part before {self._address}"

    def scores(
        self, picture: int, channels: Sequence[int | None]
    ) -> Float[Tensor, "questions channels"]:
        """Return the scores of one picture without each channel; None removes no channel."""

        def part_scores(part: slice) -> Tensor:
            outputs = self._outputs(picture, channels[part], self.short)
            rows = torch.full((part.stop - part.start,), picture)
            return torch.stack([s.rows(rows).of(outputs) for s in self._recording.scores]).float()

        return torch.cat(list(self.sizer.parts(len(channels), part_scores)), 1)

    def _is_short(self) -> bool:
        """Return whether `short` gives the logits of the whole network, for the first picture."""
        recording = self._recording
        if recording.watched or recording.model.edits:
            return False
        strongest = recording.maps(str(self._address))[0].abs().amax((1, 2))
        channels = strongest.topk(min(2, len(strongest))).indices.tolist()
        try:
            full = self._outputs(0, channels, short=False).logits
        except Exception as error:
            if not out_of_memory(error):
                raise
            return False  # unknown: there is no memory to compare
        try:
            short = self._outputs(0, channels, short=True).logits
        except Exception:
            return False
        tolerance = ROUNDING[recording.settings.precision] * full.abs().amax()
        return bool((short - full).abs().amax() <= tolerance)

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
                    new[row, None][self._index(channel)] = 0
            return new

        with hooked(model.net, {self._address.layer: ablate}):
            if not short:
                return recording.run(pixels.expand(count, -1, -1, -1))
            fast = recording.settings.precision == "fast"
            with torch.autocast(model.device.type, torch.bfloat16, enabled=fast):
                logits = model.logits(model.net, model.normalised(pixels), count)
            recording.cost.ran(forwards=count / len(recording.pixels))
        return Outputs(logits, {}, None)

    def _index(self, channel: int) -> tuple:
        """Return the index of a channel in the activation of one picture."""
        addressed = self._address.channel
        channel = channel if addressed is None else addressed
        address = dataclasses.replace(self._address, channel=channel)
        return self._layer_graph.index(address)
