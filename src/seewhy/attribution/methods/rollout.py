"""What the rollouts share: attention matrices, multiplied from layer to layer.

Both are a product over the layers of attention matrices, of which only the row of the token that
the decision is read from is wanted. So that row is carried from the last layer to the first, and
no product of matrices is formed.
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
    """A row of the product of all layers' attention."""

    @property
    def signed(self) -> bool:
        """Never: attention is a share."""
        return False

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """All attention matrices and their gradients."""
        if any(compiled(module) for module in model.net.modules()):
            raise NotApplicable(
                f"{self.name} reads attention, and that of {model.name} would run inside "
                "TorchScript, where it cannot be seen"
            )
        return [Request(ATTENTION)]

    def attribute(self, recording: Recording) -> Attribution:
        """The row of the tokens that are read out, on the grid of the patches."""
        layers = attention_of(recording)
        grid = _token_grid(recording, [attention for attention, _ in layers])
        row = _read_out(layers[-1][1])
        for attention, gradient in reversed(layers):
            row = self.before(row, attention, gradient)
        values = grid.maps(row[:, :, None])
        return Attribution(values, values[:, 0])

    @abstractmethod
    def before(self, row: Row, attention: Heads, gradient: Heads) -> Row:
        """The row of the product that includes this layer: row times the layer's matrix."""


def _read_out(gradient: Heads) -> Row:
    """The mean of the rows whose tokens the score is read from.

    Those are the ones that it depends on after the last attention: the class token, or the patches
    that are averaged.
    """
    read = gradient.abs().amax((1, 3)) > 0
    return read / read.sum(1, keepdim=True).clamp_min(1)


def _token_grid(recording: Recording, layers: Sequence[Tensor]) -> Grid:
    """Where the patches are among the tokens; raises NotApplicable where there is no one answer."""
    model, size = recording.model, (recording.pixels.shape[-2], recording.pixels.shape[-1])
    if not layers:
        raise NotApplicable(
            f"no attention layer was found in {model.name}: no softmax whose output multiplies "
            "values"
        )
    shapes = sorted({tuple(attention.shape[-2:]) for attention in layers}, reverse=True)
    queries, keys = shapes[0]
    if len(shapes) > 1 or queries != keys:
        seen = ", ".join(f"{m} x {n}" for m, n in shapes)
        raise NotApplicable(
            f"rollout multiplies attention of the same tokens in every layer, and that of "
            f"{model.name} is {seen} (queries x keys)"
        )
    seen = model.layer_graph(recording.pixels).layers.values()
    of_tokens = {
        layer.grid for layer in seen if len(layer.shape) == 2 and layer.shape[0] == queries
    }
    if len(of_tokens) == 1 and None not in of_tokens:  # found out by changing the picture
        return next(grid for grid in of_tokens if grid)
    grids = [layer.grid for layer in seen]
    known = {(grid.height, grid.width) for grid in grids if grid and grid.layout != "tokens"}
    grid = find_grid((queries, 1), size, known)
    # Some of the tokens may have been dropped: then there is a grid of that size by chance only.
    if grid is None or None in of_tokens or (known and (grid.height, grid.width) not in known):
        raise NotApplicable(
            f"the {queries} tokens of {model.name} are not patches in rows and columns"
        )
    return grid


def attention_of(recording: Recording) -> list[tuple[Tensor, Tensor]]:
    """Each layer's attention [batch, heads, queries, keys] and its gradient, first to last.

    Layers that the score does not depend on are left out. Raises NotApplicable where attention is
    of parts of pictures, or does not go layer by layer.
    """
    pulls, count = recording.pulls, len(recording.pixels)
    recording.cost.pulled(ATTENTION, pulls.attention is not None)
    if pulls.attention is None:
        found = attentions(pulls.explained, recording.forward.softmaxes)
        pulled = pulls.pull([edge for _, edge in found], GRADIENT)
        pulls.attention = [
            (per_picture(softmax.y, softmax, count), per_picture(gradient, softmax, count))
            for (softmax, _), gradient in zip(found, pulled, strict=True)
            if gradient is not None
        ]
    return pulls.attention
