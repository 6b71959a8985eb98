"""FullGrad: how much do the pixels and the biases of all layers contribute to the score?

    score = sum of x * d score / d x + sum over layers of b * d score / d y    (full gradient)
    map   = psi(x * d score / d x)   + sum over layers and channels of psi(b * d score / d y)

with x the normalised pixels, y a layer's output and b its bias, which for a batch normalisation
is bias - mean * weight / sqrt(var + eps). psi takes absolute values, scales them to [0, 1] and
upsamples. Suraj Srinivas, Francois Fleuret: Full-Gradient Representation for Neural Network
Visualization, 2019, arXiv 1905.00780. `rescale` "layer" scales all channels of a layer together, as
the authors' implementation does; "channel" scales each channel separately, as in the formula.

The networks of the paper are piecewise linear. Other functions (GELU, layer normalisation,
attention, gates) are replaced by their tangent, y = J x + b, whose constant b counts like a bias.
So the first equation holds for every network whose operations have a rule
(seewhy.autodiff.rules.full_gradient), and the residual is rounding. Biases of layers without rows
and columns are part of the sum, but not of the map.

It misleads about sign and strength: absolute values show evidence for and against alike, and after
scaling, a layer that contributes little is as bright as a decisive one.

    seewhy.explain(model, "dog.jpg", "fullgrad")
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method, check
from seewhy.attribution.methods.residual import balance
from seewhy.autodiff.ledger import Ledger
from seewhy.autodiff.rules.full_gradient import FULL_GRADIENT
from seewhy.engine.recording import INPUT, Recording, Request
from seewhy.errors import NotApplicable
from seewhy.models.grids import Grid
from seewhy.models.layers import LayerGraph, compiled
from seewhy.models.model import Model
from seewhy.perturbation.baselines import baseline

Rescale = Literal["layer", "channel"]

ROUNDING = 1e-6  # a range below this fraction of the maximum is a constant in float32

_AXES = {"layer": (1, 2, 3), "channel": (2, 3)}


@dataclass(frozen=True)
class FullGrad(Method):
    """Absolute contributions of the pixels and of all biases to the score, added up.

    - `rescale`: what is scaled to [0, 1]: all channels of a "layer" together, or each "channel".
    """

    name = "fullgrad"
    question = "How much do the pixels and all biases contribute to the score?"
    source = "Srinivas, Fleuret 2019, arXiv 1905.00780"

    rescale: Rescale = "layer"

    def __post_init__(self) -> None:
        check(
            self.rescale in _AXES,
            f"{self.name}: rescale must be 'layer' or 'channel', not {self.rescale!r}",
        )

    @property
    def signed(self) -> bool:
        """False: absolute values are added up."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the gradient at the pixels, and the constant of each operation's tangent."""
        if any(compiled(module) for module in model.net.modules()):
            raise NotApplicable(
                f"{self.name} reads the biases of all layers, and those of {model.name} are "
                "inside TorchScript, where they cannot be read"
            )
        return [Request(INPUT, FULL_GRADIENT)]

    def attribute(self, recording: Recording) -> Attribution:
        """Return two channels, of pixels and biases, and the residual of the full gradient."""
        pixels = recording.pixels.detach()
        size = (pixels.shape[-2], pixels.shape[-1])
        of_biases = torch.zeros(len(pixels), *size, device=pixels.device)
        grids = _grids(recording.model.layer_graph(pixels))

        def draw(terms: Tensor) -> None:
            grid = grids.get(tuple(terms.shape[1:]))
            if grid and len(terms) == len(pixels):  # otherwise windows are in the batch
                of_biases.add_(self._psi(grid.maps(terms).float(), size))

        ledger = DrawingLedger(pictures=len(pixels), draw=draw)
        gradient = recording.pulls.pull_to(INPUT, FULL_GRADIENT, ledger)
        recording.cost.ran(backwards=1)
        shares = (pixels - baseline("mean", recording.model, pixels)) * gradient
        of_pixels = self._psi(shares.float(), size)
        values = torch.stack([of_pixels, of_biases], 1)
        missing, _ = balance(recording, shares.sum((1, 2, 3)), ledger, FULL_GRADIENT)
        return Attribution(values, values.sum(1), residual=missing)

    def _psi(
        self, shares: Float[Tensor, "batch channels h w"], size: tuple[int, int]
    ) -> Float[Tensor, "batch height width"]:
        """Return the sum over channels of psi; upsampling is linear, so it comes after the sum."""
        magnitude, axes = shares.abs(), _AXES[self.rescale]
        low, high = magnitude.amin(axes, keepdim=True), magnitude.amax(axes, keepdim=True)
        varies = high - low > ROUNDING * high
        scaled = torch.where(varies, (magnitude - low) / (high - low), 0).sum(1, keepdim=True)
        return F.interpolate(scaled, size, mode="bilinear", align_corners=False)[:, 0]


@dataclass(eq=False)
class DrawingLedger(Ledger):
    """A ledger that also shows what constants absorb, each time in the shape of an activation."""

    draw: Callable[[Tensor], None] = lambda shares: None

    def credit(self, shares: Tensor) -> None:
        """Add relevance absorbed by constants, and show it."""
        super().credit(shares)
        self.draw(shares)


def _grids(layer_graph: LayerGraph) -> dict[tuple[int, ...], Grid | None]:
    """How activations of a shape (without the batch) are laid out; None where layers differ.

    Operations have no address, and many have no module: a function's output is laid out as those
    of the layers with the same shape.
    """
    found: dict[tuple[int, ...], Grid | None] = {}
    for layer in layer_graph.layers.values():
        same = found.get(layer.shape, layer.grid) == layer.grid
        found[layer.shape] = layer.grid if same else None
    return found
