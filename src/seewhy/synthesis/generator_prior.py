"""A generator or decoder as the prior: a picture is its output, described by a code.

    parametrisation    the code z; the picture is net(z), resized
    prior              z is standard normal, as in training: weight * |z|^2 / 2 per dimension

Nguyen et al. 2016, Synthesizing the preferred inputs for neurons via deep generator networks,
arXiv 1605.09304 (DGN-AM).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seewhy.errors import SeewhyError
from seewhy.synthesis.parametrisations import Parametrisation, Size, normal


@dataclass(frozen=True, eq=False)
class GeneratorPrior(Parametrisation):
    """The code of a generator, or of the decoder of an autoencoder.

    - `net`: maps codes `[batch, *code]` to pictures `[batch, channels, height, width]`.
    - `code`: the shape of a code, such as (100,) or (100, 1, 1). - `method`: what is called, such
    as "decode" of an autoencoder; by default the network itself. - `low`, `high`: the range of its
    pictures, which becomes [0, 1]. - `prior`: the weight of the mean of z^2 / 2.
    - `truncation`: numbers of the code are kept within plus and minus this; None: they are free.

    A grey picture becomes RGB, and RGB its mean, if the model takes another number of channels.
    Raises SeewhyError if the shapes do not fit.
    """

    net: nn.Module
    code: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    prior: float = 0.01
    truncation: float | None = None
    method: str = ""
    rate: float = 0.05
    name = "generator"

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise SeewhyError(
                f"pictures range from low to high, not from {self.low} to {self.high}"
            )
        if not self.code or min(self.code) < 1:
            raise SeewhyError(f"a code has a shape such as (100,), not {self.code}")
        if self.method and not callable(getattr(self.net, self.method, None)):
            raise SeewhyError(f"the generator has no method {self.method!r}")

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The generator, which runs in evaluation mode."""
        return (self.net,)

    def start(self, size: Size, seeds: Sequence[int]) -> list[Tensor]:
        """Return standard normal codes, [rows, *code]."""
        return [normal(self.code, seeds)]

    def picture(self, parameters: list[Tensor], size: Size) -> Float[Tensor, "rows c h w"]:
        """Return the generator's pictures, resized; values outside its range are clamped."""
        call = getattr(self.net, self.method) if self.method else self.net
        made = call(parameters[0])
        if not isinstance(made, Tensor) or made.ndim != 4:
            shape = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise SeewhyError(
                f"the generator must return [batch, channels, rows, columns], not {shape}"
            )
        pictures = (made - self.low) / (self.high - self.low)
        pictures = _with_channels(pictures, size[0])
        if pictures.shape[2:] != size[1:]:
            pictures = F.interpolate(
                pictures, size[1:], mode="bilinear", antialias=True, align_corners=False
            )
        return pictures.clamp(0, 1)

    def penalty(self, parameters: list[Tensor]) -> Float[Tensor, " rows"]:
        """Return the weighted mean of z^2 / 2 of each code."""
        return self.prior * parameters[0].pow(2).flatten(1).mean(1) / 2

    def project(self, parameters: list[Tensor]) -> None:
        """Keep the code within the truncation."""
        if self.truncation is not None:
            parameters[0].clamp_(-self.truncation, self.truncation)


def _with_channels(pictures: Tensor, channels: int) -> Tensor:
    has = pictures.shape[1]
    if has == channels:
        return pictures
    if has == 1:
        return pictures.expand(-1, channels, -1, -1)
    if channels == 1:
        return pictures.mean(1, keepdim=True)
    raise SeewhyError(
        f"the generator's pictures have {has} channels, but the model takes {channels}"
    )
