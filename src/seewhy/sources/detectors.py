"""Object detectors: a model whose score is how well one object is still found.

    found = net([pixels])[0]
    model = seewhy.detector(net, found["boxes"][0], int(found["labels"][0]))
    seewhy.explain(model, "street.jpg", "grad-cam")

The score is that of D-RISE (see `black_box.detection_score`). It is differentiable wherever the
detector is, so that gradient methods apply, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn

from seewhy.models.adapter import Adapter
from seewhy.models.model import Model
from seewhy.sources.black_box import Numbers, detection_score


def detector(
    net: nn.Module,
    box: Numbers,
    class_scores: SupportsIndex | Numbers,
    *,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    size: int | tuple[int, int] | None = None,
    name: str | None = None,
) -> Model:
    """Wrap a detector as a model with one score: how well it still finds one object.

    - `net`: takes a list of pictures [channels, height, width], in [0, 1] unless `mean` and `std`
      are given, and returns for each a mapping with "boxes" as left, top, right, bottom in pixels,
      "labels" and "scores" (as torchvision's detectors), or "probabilities" and maybe "objectness".
    - `box`: the object's box in pixels of the network's input. - `class_scores`: its class, or a
      number for each class.

    Boxes that are dropped as duplicates have no gradient; the best box that remains has.
    Raises SeewhyError for a box or class that is none.
    """
    score = detection_score(_Listed(net), box, class_scores)
    return Model(
        _Scored(net, score),
        mean=mean if mean is not None else 0.0,
        std=std,
        size=size,
        classes=["detection"],
        name=name or type(net).__name__,
        outputs="scores",
    )


class _Listed:
    """The detector as a function of a batch."""

    def __init__(self, net: nn.Module):
        self.net = net

    def __call__(self, pixels: Tensor) -> Sequence[Mapping[str, Any]]:
        return self.net(list(pixels))


class _Scored(Adapter):
    """The detector, with a score for each picture."""

    def __init__(self, net: nn.Module, score: Any):
        super().__init__(net)
        self.score = score

    def forward(self, normal: Tensor) -> Tensor:
        return torch.as_tensor(self.score(normal)).to(normal)[:, None]
