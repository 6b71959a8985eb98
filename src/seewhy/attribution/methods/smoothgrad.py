"""SmoothGrad: which pixels affect the score most, averaged over noisy copies of the picture?

    mean over n of gradient(x + noise_n),   noise ~ N(0, (noise * (max x - min x))^2)

Daniel Smilkov et al.: SmoothGrad: removing noise by adding noise, 2017, arXiv 1706.03825.
The n-th noise depends only on the seed and n: a picture has the same map alone and in a batch.

    seewhy.explain(model, "dog.jpg", "smoothgrad", samples=50, noise=0.1)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.attribution.methods.gradient_sums import summed_gradient
from seewhy.attribution.methods.reduction import Reduction, check_reduction, reduce
from seewhy.engine.recording import Recording, Request
from seewhy.models.model import Model


@dataclass(frozen=True)
class SmoothGrad(Method):
    """Gradient averaged over noisy copies of the picture.

    - `samples`: the number of noisy copies. - `noise`: standard deviation of the noise, relative to
    the range of the picture's values. - `reduction`: how channels are reduced: max, norm or sum.
    """

    name = "smoothgrad"
    question = "Which pixels affect the score most, averaged over noisy copies?"
    source = "Smilkov et al. 2017, arXiv 1706.03825"
    random = True

    samples: int = 25
    noise: float = 0.15
    reduction: Reduction = "max"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        check(self.samples >= 1, f"{self.name}: samples must be at least 1, not {self.samples}")
        check(self.noise >= 0, f"{self.name}: noise must be at least 0, not {self.noise}")

    @property
    def signed(self) -> bool:
        """Whether the reduction is a plain sum over channels, which keeps the sign."""
        return self.reduction == "sum"

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request nothing of the shared forward pass but the score."""
        return []

    def attribute(self, recording: Recording) -> Attribution:
        """Return the mean gradient over the samples."""
        pixels = recording.pixels.detach()
        sigma = self.noise * (pixels.amax((1, 2, 3)) - pixels.amin((1, 2, 3))).view(-1, 1, 1, 1)
        seed = recording.settings.seed

        def noisy(n: int) -> Tensor:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + n)
            noise = torch.randn(pixels.shape[1:], generator=generator)
            return pixels + sigma * noise.to(pixels)

        weights = torch.full((self.samples,), 1 / self.samples)
        values = summed_gradient(recording, noisy, weights).float()
        return Attribution(values, reduce(values, self.reduction))
