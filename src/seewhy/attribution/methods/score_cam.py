"""Score-CAM: what is the score of the picture masked by each channel's map?

    relu(sum over channels k of w_k * A_k),   w_k = f(x H_k + b (1 - H_k))

with H_k the channel's map, upsampled to the picture and scaled to [0, 1], f the probability of the
class and b the baseline. Haofan Wang et al.: Score-CAM, 2019, arXiv 1910.01279. The authors use
three kinds of weights, `weighting`:

- "score", as above and in their code;
- "increase" over f(b), as in their definition: hardly different if f(b) is small, as with many
  classes; otherwise it shows what is specific to this class;
- "softmax" of the channels' scores, as in their algorithm. For probabilities, the weights are
  nearly equal, and so are the maps of all classes; for logits (`score="logit"`, as in
  pytorch-grad-cam), nearly all weight goes to a few channels.

pytorch-grad-cam masks the picture after normalisation, which is `baseline="mean"`, and aligns the
corners of the maps with those of the picture, which is `align_corners=True`.

Constant maps show nothing, and share one forward pass. The cost is one forward pass per channel.

It misleads where the masked pictures are unlike the training data.

    seewhy.explain(model, "dog.jpg", "score-cam", layer="layer4")
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seewhy.attribution.methods.masked import check_score
from seewhy.attribution.methods.scored_cams import ScoredCAM
from seewhy.engine.recording import Recording
from seewhy.errors import Unknown
from seewhy.perturbation import MaskedScores, Masks
from seewhy.perturbation.baselines import baseline, check_baseline

WEIGHTINGS = ("score", "increase", "softmax")
ROUNDING = 1e-6  # a map whose range is at most this fraction of its values is constant


@dataclass(frozen=True)
class ScoreCAM(ScoredCAM):
    """Feature maps, each weighted by the score of the picture masked by it.

    - `layer`: the layer of the maps; None: chosen and reported.
    - `relu`: keep only evidence for the class.
    - `baseline`: the baseline that replaces hidden pixels. - `score`: probability or logit.
    - `weighting`: the "score", its "increase" over that of the baseline, or the "softmax" over
    channels. - `align_corners`: upsample such that the corner pixels are aligned.
    """

    name = "score-cam"
    question = "What is the score of the picture masked by each channel's map?"
    source = "Wang et al. 2019, arXiv 1910.01279"

    baseline: str = "mean"
    score: str = "probability"
    weighting: str = "score"
    align_corners: bool = False

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check_score(self.score)
        if self.weighting not in WEIGHTINGS:
            names = ", ".join(WEIGHTINGS)
            raise Unknown("weighting", self.weighting, WEIGHTINGS, hint=f"there are {names}")

    def weights(
        self, recording: Recording, layer: str
    ) -> Float[Tensor, "questions batch channels"]:
        """Return the weights, from one forward pass per channel whose map is not constant."""
        pixels, maps = recording.pixels.detach(), recording.maps(layer)
        masks = MapMasks(maps, (pixels.shape[-2], pixels.shape[-1]), self.align_corners)
        fill = baseline(self.baseline, recording.model, pixels)
        scored = MaskedScores(recording, masks, fill, probability=self.score == "probability")
        shape = (len(recording.scores), *masks.shows.shape)
        all_scores = torch.zeros(shape, device=maps.device)
        for block in scored:
            channels = masks.order[block.pictures][:, block.numbers.start : block.numbers.stop]
            all_scores[:, block.pictures[:, None], channels] = block.scores
            scored.finished |= (masks.needed <= block.numbers.stop).cpu()
        scores, hidden = all_scores[..., :-1], all_scores[..., -1:]
        scores = torch.where(masks.shows[:, :-1], scores, hidden)
        match self.weighting:
            case "softmax":
                return scores.softmax(-1)
            case "increase":
                return scores - hidden
            case _:
                return scores


class MapMasks(Masks):
    """Masks that are channel maps, scaled to [0, 1]; the first mask hides everything.

    - `shows`: whether a channel's map is not constant; a last, empty channel is added, which hides
    everything. - `order`: the channels of each picture: the empty one, those with a map that is not
    constant, and the others. - `needed`: the number of different masks of each picture.
    """

    def __init__(
        self,
        maps: Float[Tensor, "pictures channels h w"],
        size: tuple[int, int],
        align_corners: bool,
    ):
        self._maps = F.pad(maps, (0, 0, 0, 0, 0, 1))
        self._size, self._align_corners = size, align_corners
        highest, lowest = self._maps.amax((2, 3)), self._maps.amin((2, 3))
        largest = torch.maximum(highest.abs(), lowest.abs())
        self.shows: Bool[Tensor, "pictures channels_and_none"]
        self.shows = highest - lowest > ROUNDING * largest
        self.needed: Int[Tensor, " pictures"] = 1 + self.shows.sum(1)
        self.count = int(self.needed.max())
        first = self.shows.int()
        first[:, -1] = 2
        self.order: Int[Tensor, "pictures channels_and_none"]
        self.order = first.argsort(dim=1, descending=True, stable=True)

    def of(self, numbers: range) -> Float[Tensor, "pictures masks 1 height width"]:
        """Return the maps, upsampled and then scaled."""
        pictures = torch.arange(len(self._maps), device=self._maps.device)[:, None]
        channels = self.order[:, numbers.start : numbers.stop]
        maps = F.interpolate(
            self._maps[pictures, channels],
            self._size,
            mode="bilinear",
            align_corners=self._align_corners,
        )
        lowest = maps.amin((2, 3), keepdim=True)
        range_ = (maps.amax((2, 3), keepdim=True) - lowest).clamp_min(1e-30)
        shows = self.shows[pictures, channels][..., None, None]
        return (shows * (maps - lowest) / range_)[:, :, None]
