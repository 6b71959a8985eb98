"""Object detectors: a model whose score is how well one object is still found.

    found = net([pixels])[0]
    model = seewhy.detector(net, found["boxes"][0], int(found["labels"][0]))
    seewhy.explain(model, "street.jpg", "grad-cam")

The score is that of D-RISE (see `black_box.detection_score`). It is differentiable wherever the
detector is, so that gradient methods apply, too.
"""

from collections.abc import Callable, Sequence
from typing import SupportsIndex

from torch import Tensor, nn

from seewhy.models.adapter import Adapter
from seewhy.models.model import Model
from seewhy.sources.black_box import Numbers, similarity_to


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
    return Model(
        _Scored(net, similarity_to(box, class_scores)),
        mean=mean if mean is not None else 0.0,
        std=std,
        size=size,
        classes=["detection"],
        name=name or type(net).__name__,
        outputs="scores",
    )


class _Scored(Adapter):
    """The detector, run on a list of pictures, with a score for each."""

    def __init__(self, net: nn.Module, similarity: Callable[..., Tensor]):
        super().__init__(net)
        self.similarity = similarity

    def forward(self, normal: Tensor) -> Tensor:
        scores = self.similarity(self.network(list(normal)), len(normal))
        return scores.to(normal)[:, None]
