"""CAM: which regions contribute to the class logit?

    sum over channels k of w_k * A_k,   logit = mean over positions of CAM + bias

for networks that end in global average pooling and one linear layer, so that the map is an exact
decomposition of the logit by position. Bolei Zhou et al.: Learning Deep Features for Discriminative
Localization, 2015, arXiv 1512.04150. For networks that end in one map per class (SqueezeNet), it is
that map. Whether a network has this form is not inferred from names: the identity is checked on the
pictures themselves, and its error is the residual. The map of a weighted sum of classes is the same
sum of their maps.

    seewhy.explain(model, "dog.jpg", "cam")
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seewhy.attribution.method import Attribution, Method
from seewhy.engine.recording import Recording, Request
from seewhy.errors import NotApplicable
from seewhy.models.layers import Layer
from seewhy.models.model import Model

Head = tuple[Tensor, Tensor]

TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2  # fraction of a picture's largest logit minus bias


@dataclass(frozen=True)
class CAM(Method):
    """The logit by position, for networks that end in average pooling and a linear layer.

    - `layer`: the layer whose maps are averaged; None: chosen and reported.
    """

    name = "cam"
    question = "Which regions contribute to the class logit?"
    source = "Zhou et al. 2015, arXiv 1512.04150"
    reads_layer = True

    layer: str | None = None

    @property
    def signed(self) -> bool:
        """True: positions contribute positively or negatively."""
        return True

    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Request the maps of every layer that could be averaged, without gradients."""
        return [Request(name, rules=None) for name in self._candidates(model, pixels)]

    def attribute(self, recording: Recording) -> Attribution:
        """Return the weighted sum of the maps; raises if the logits are not its mean plus bias."""
        model, asked = recording.model, recording.asked
        if recording.watched:
            raise NotApplicable(
                "CAM decomposes a logit or a sum of logits, and a hidden unit is neither; use "
                "grad-cam instead"
            )
        half = recording.settings.precision == "fast" or model.dtype.itemsize < 4
        tolerance = HALF_TOLERANCE if half else TOLERANCE
        head = _head(model, recording.pixels, recording.logits.shape[1])
        for name in self._candidates(model, recording.pixels):
            maps = recording.maps(name)
            for values in (maps, maps.relu()):  # some networks apply ReLU outside any module
                if head and _reproduces(head, values, recording.logits, tolerance):
                    weight, bias = head
                    shares = (asked.weights @ weight)[:, :, None, None] * values
                    return _attribution(shares, asked.weights @ bias, name, recording)
            if _same(maps.mean((2, 3)), recording.logits, tolerance):
                shares = torch.einsum("bk,bkhw->bhw", asked.weights, maps)[:, None]
                return _attribution(shares, torch.zeros_like(recording.score), name, recording)
        raise NotApplicable(
            "CAM needs global average pooling followed by one linear layer; the logits of "
            f"{model.name} are not linear in the mean of any layer's maps; use grad-cam instead"
        )

    def _candidates(self, model: Model, pixels: Tensor) -> list[str]:
        if self.layer:
            return [self.layer]
        layer_graph = model.layer_graph(pixels)
        if not layer_graph.layers:
            return []
        *_, last = layer_graph.layers.values()
        classes = last.channels
        maps = [a.name for a in layer_graph.layers.values() if _is_class_map(a, classes)]
        spatial = [layer_graph.spatial] if layer_graph.spatial else []
        return list(dict.fromkeys([*spatial, *maps[-1:]]))


def _is_class_map(layer: Layer, classes: int) -> bool:
    return layer.grid is not None and not layer.passive and layer.channels == classes


def _head(model: Model, pixels: Tensor, classes: int) -> Head | None:
    """Return weight and bias of the linear or 1x1 convolution layer that outputs the logits."""
    for name in reversed(model.layer_graph(pixels).layers):
        module = model.net.get_submodule(name)
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
        if not (isinstance(module, nn.Linear) or pointwise):
            continue
        weight, bias = module.weight, module.bias
        if isinstance(weight, Tensor) and len(weight) == classes:
            zeros = torch.zeros(classes, device=weight.device)
            bias_vector = bias.detach().float() if isinstance(bias, Tensor) else zeros
            return weight.detach().flatten(1).float(), bias_vector
    return None


def _reproduces(head: Head, maps: Tensor, logits: Tensor, tolerance: float) -> bool:
    weight, bias = head
    means = maps.mean((2, 3))
    if means.shape[1] != weight.shape[1]:
        return False
    return _same(means @ weight.T, logits - bias, tolerance)


def _same(predicted: Tensor, logits: Tensor, tolerance: float) -> bool:
    """Return whether the prediction holds for every picture; False if all logits are zero."""
    if predicted.shape != logits.shape:
        return False
    return bool(((predicted - logits).abs().amax(1) < tolerance * logits.abs().amax(1)).all())


def _attribution(
    shares: Float[Tensor, "batch channels h w"], bias: Tensor, layer: str, recording: Recording
) -> Attribution:
    heatmap = shares.sum(1)
    missing = (heatmap.mean((1, 2)) + bias - recording.score).abs()
    return Attribution(shares, heatmap, layer, missing / recording.score.abs().clamp_min(1e-12))
