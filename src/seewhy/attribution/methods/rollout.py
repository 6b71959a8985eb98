"""The base class of rollouts: the product of the attention matrices of all layers.

Only one row of the product is needed: that of the token that the logits are read from. So that row
is multiplied from the last layer to the first, without products of matrices.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seewhy.attribution.method import Attribution, Method
from seewhy.autodiff.attention import attentions, per_picture
from seewhy.autodiff.rules import GRADIENT
from seewhy.engine.recording import ATTENTION, Recording, Request
from seewhy.errors import NotApplicable
from seewhy.models.grids import Grid, find_grid
from seewhy.models.layers import compiled
from seewhy.models.model import Model

Row = Float[Tensor, "batch tokens"]
Heads = Float[Tensor, "batch heads tokens tokens"]


@dataclass(frozen=True)
class Rollout(Method):
    """One row of the product of the attention matrices of all layers."""

    @property
    def signed(self) -> bool:
        """False: attention is not negative."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request all attention matrices and their gradients."""
        if any(compiled(module) for module in model.net.modules()):
            raise NotApplicable(
                f"{self.name} reads attention, and the layers of {model.name} run inside "
                "TorchScript, where it cannot be recorded"
            )
        return [Request(ATTENTION)]

    def attribute(self, recording: Recording) -> Attribution:
        """Return the row of the tokens that the logits are read from, on the grid of patches."""
        layers = attention_of(recording)
        grid = _token_grid(recording, [attention for attention, _ in layers])
        row = _output_row(layers[-1][1])
        for attention, gradient in reversed(layers):
            row = self.before(row, attention, gradient)
        values = grid.maps(row[:, :, None])
        return Attribution(values, values[:, 0])

    @abstractmethod
    def before(self, row: Row, attention: Heads, gradient: Heads) -> Row:
        """Return the row times this layer's matrix: the row of the product that includes it."""


def _output_row(gradient: Heads) -> Row:
    """Return the mean over the tokens that the score is read from, as a row.

    These are the tokens that the score depends on after the last attention layer: the class token,
    or the averaged patches.
    """
    read = gradient.abs().amax((1, 3)) > 0
    return read / read.sum(1, keepdim=True).clamp_min(1)


def _token_grid(recording: Recording, layers: Sequence[Tensor]) -> Grid:
    """Return the positions of the patches among the tokens; raises NotApplicable if ambiguous."""
    model, size = recording.model, (recording.pixels.shape[-2], recording.pixels.shape[-1])
    if not layers:
        raise NotApplicable(
            f"no attention layer was found in {model.name}: no softmax whose output is multiplied "
            "with values"
        )
    shapes = sorted({tuple(attention.shape[-2:]) for attention in layers}, reverse=True)
    queries, keys = shapes[0]
    if len(shapes) > 1 or queries != keys:
        sizes = ", ".join(f"{m} x {n}" for m, n in shapes)
        raise NotApplicable(
            f"rollout needs attention between the same tokens in every layer, and that of "
            f"{model.name} is {sizes} (queries x keys)"
        )
    layers_seen = model.layer_graph(recording.pixels).layers.values()
    token_grids = {
        layer.grid for layer in layers_seen if len(layer.shape) == 2 and layer.shape[0] == queries
    }
    if len(token_grids) == 1 and None not in token_grids:  # located by changing the picture
        return next(grid for grid in token_grids if grid)
    grids = [layer.grid for layer in layers_seen]
    known = {(grid.height, grid.width) for grid in grids if grid and grid.layout != "tokens"}
    grid = find_grid((queries, 1), size, known)
    # If tokens were dropped, a grid of that size fits by chance only.
    if grid is None or None in token_grids or (known and (grid.height, grid.width) not in known):
        raise NotApplicable(
            f"the {queries} tokens of {model.name} are not patches in rows and columns"
        )
    return grid


def attention_of(recording: Recording) -> list[tuple[Tensor, Tensor]]:
    """Return each layer's attention [batch, heads, queries, keys] and its gradient, first to last.

    Layers that the score does not depend on are left out. Raises NotApplicable if attention is
    computed within windows, or if the attention layers do not form a sequence.
    """
    pulls, count = recording.pulls, len(recording.pixels)
    recording.cost.pulled(ATTENTION, pulls.attention is not None)
    if pulls.attention is None:
        softmaxes = attentions(pulls.explained, recording.forward.softmaxes)
        gradients = pulls.pull([edge for _, edge in softmaxes], GRADIENT)
        pulls.attention = [
            (per_picture(softmax.y, softmax, count), per_picture(gradient, softmax, count))
            for (softmax, _), gradient in zip(softmaxes, gradients, strict=True)
            if gradient is not None
        ]
    return pulls.attention
