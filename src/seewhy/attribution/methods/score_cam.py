"""Score-CAM: what does the score say about a picture that shows only what a channel looks at?

    relu(sum over channels k of w_k * A_k),   w_k = f(x H_k + b (1 - H_k))

with H_k the channel's map, up-sampled to the picture and stretched to [0, 1], f the class's
probability and b the picture without information. Haofan Wang et al.: Score-CAM, 2019, arXiv
1910.01279. Their weights come in three kinds, `weighting`:

- "score", as above and in their code;
- "increase", over f(b), as they define it: hardly different where f(b) is small, as with many
  classes, and where it is not, it says what goes for this class alone;
- "softmax" of the channels' scores, as in their algorithm. Of probabilities that makes nearly equal
  weights, so nearly the same map for every class; of logits (`score="logit"`, as in
  pytorch-grad-cam) nearly all weight goes to a few channels.

pytorch-grad-cam masks the picture after normalisation, which is `baseline="mean"`, and lets the
corners of the maps fall on those of the picture, `align_corners=True`.

Maps that are the same everywhere show nothing, and share one forward. It misleads where the
cut-out pictures are unlike any that the network has learned from, and costs a forward a channel.

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
ROUNDING = 1e-6  # a map that varies by no more than this share of its values varies by rounding


@dataclass(frozen=True)
class ScoreCAM(ScoredCAM):
    """Feature maps, weighted by the score of the picture seen through each.

    - `layer`: whose maps; None: found, and reported. - `relu`: keep only evidence for the class.
    - `baseline`: what stands in for the rest, a baseline. - `score`: probability or logit.
    - `weighting`: the "score", its "increase" over that of the baseline, or the "softmax" of all.
    - `align_corners`: how maps are up-sampled.
    """

    name = "score-cam"
    question = "What does a picture score that shows only what a channel sees?"
    source = "Wang et al. 2019, arXiv 1910.01279"

    baseline: str = "mean"
    score: str = "probability"
    weighting: str = "score"
    align_corners: bool = False

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check_score(self.score)
        if self.weighting not in WEIGHTINGS:
            hint = ", ".join(WEIGHTINGS)
            raise Unknown("weighting", self.weighting, WEIGHTINGS, hint=f"there are {hint}")

    def weights(
        self, recording: Recording, layer: str
    ) -> Float[Tensor, "questions batch channels"]:
        """From one forward for each channel that shows anything."""
        pixels, maps = recording.pixels.detach(), recording.maps(layer)
        masks = MapMasks(maps, (pixels.shape[-2], pixels.shape[-1]), self.align_corners)
        fill = baseline(self.baseline, recording.model, pixels)
        scored = MaskedScores(recording, masks, fill, probability=self.score == "probability")
        shape = (len(recording.scores), *masks.shows.shape)
        found = torch.zeros(shape, device=maps.device)
        for block in scored:
            channels = masks.order[block.pictures][:, block.numbers.start : block.numbers.stop]
            found[:, block.pictures[:, None], channels] = block.scores
            scored.finished |= (masks.needed <= block.numbers.stop).cpu()
        scores, hidden = found[..., :-1], found[..., -1:]
        scores = torch.where(masks.shows[:, :-1], scores, hidden)
        match self.weighting:
            case "softmax":
                return scores.softmax(-1)
            case "increase":
                return scores - hidden
            case _:
                return scores


class MapMasks(Masks):
    """Each mask is one channel's map, stretched to [0, 1]; the first one hides everything.

    - `shows`: whether a channel's map is not the same everywhere; after the channels comes one that
    shows nothing. - `order`: of each picture's channels, that one first and then those that show
    something. - `needed`: masks of each picture until nothing new comes.
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
        """Up-sampled, then stretched."""
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
