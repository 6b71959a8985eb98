"""Does a synthetic picture mean anything? Measurements that stand beside it.

    score       its target's score, and the mean under transforms that the optimisation did not use
    natural     the scores of photographs, and the share of them that score lower
    judge       whether another network, or the same one under unseen transforms, sees the class

Synthetic pictures can be made to show anything, and help people less than photographs do: Geirhos
et al. 2023, arXiv 2306.04719; Borowski et al. 2021, arXiv 2010.12606.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.images import Preparation, each_of, in_batches, prepare
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.support.settings import Progress
from seewhy.synthesis.objective import Objective
from seewhy.synthesis.transforms import GREY, UNSEEN
from seewhy.targets.terms import Logit, Target

VIEWS = 8  # unseen transforms of each picture
TOGETHER = 16  # pictures in one forward pass
TOP = 5
SEED = 0xE71DE5CE
CONTRASTS = 0.7, 1.1  # the lowest and the highest


@dataclass(frozen=True, eq=False)
class Natural:
    """The scores of photographs for each target.

    - `sources`: the source of each photograph. - `left_out`: why photographs were skipped.
    """

    scores: Float[Tensor, "photographs targets"]
    sources: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def share_below(self, scores: Float[Tensor, " targets"]) -> Float[Tensor, " targets"]:
        """Return the fraction of photographs with a lower score than the given one."""
        return (self.scores < scores).float().mean(0)

    def best(self, target: int, count: int) -> list[int]:
        """Return the indices of the photographs with the highest scores."""
        return self.scores[:, target].topk(min(count, len(self))).indices.tolist()


def natural_scores(
    model: Model,
    objective: Objective,
    pictures: Any,
    size: tuple[int, int],
    progress: Progress | None = None,
) -> Natural:
    """Score photographs, from files or a folder, at the size of the synthetic pictures.

    Raises SeewhyError if none can be read.
    """
    things, left_out = each_of(pictures), []
    preparation = Preparation(size, max(size), model.preparation.channels)
    parts, sources = [], []
    for numbers, batch in in_batches(
        things, lambda thing: prepare(thing, preparation), TOGETHER, left_out
    ):
        with borrowed(model.net):
            parts.append(objective.table(batch.pixels))
        sources += [picture.source for picture in batch.pictures]
        if progress:
            progress(numbers[-1] + 1, len(things))
    if not parts:
        raise SeewhyError(f"none of {len(things)} photographs can be read: {left_out[:1]}")
    return Natural(torch.cat(parts), tuple(sources), tuple(left_out))


def unseen_views(
    pictures: Float[Tensor, "count c h w"],
    size: tuple[int, int] | None = None,
    views: int = VIEWS,
) -> list[Float[Tensor, "count c h w"]]:
    """Return transformed copies of the pictures, the same for all pictures of a view.

    Their contrast differs, too, which no optimisation varies.
    """
    seen = []
    for number, contrast in enumerate(torch.linspace(*CONTRASTS, views).tolist()):
        generators = [torch.Generator().manual_seed(SEED + number) for _ in range(len(pictures))]
        view = UNSEEN(pictures, generators, size)
        seen.append((GREY + contrast * (view - GREY)).clamp(0, 1))
    return seen


def scores_of(
    model: Model, objective: Objective, pictures: Float[Tensor, "count c h w"]
) -> Float[Tensor, " count"]:
    """Return the score of each picture for its own target."""
    parts = []
    with borrowed(model.net), torch.no_grad():
        for rows in torch.arange(len(pictures)).split(TOGETHER):
            parts.append(objective(pictures[rows].to(model.device), rows).float().cpu())
    return torch.cat(parts)


def seen_as_class(
    model: Model, views: Sequence[Float[Tensor, "count c h w"]], targets: Sequence[Target]
) -> tuple[bool | None, ...] | None:
    """Return whether each picture's class is among the five most probable ones, on average.

    The logits are averaged over the views. A target that is no class gets None, and so do all if
    the model does not have the same classes, or if no target is a class.
    """
    classes = [target.of_class if isinstance(target, Logit) else None for target in targets]
    if all(of_class is None for of_class in classes):
        return None
    logits = sum(_logits(model, pictures) for pictures in views)
    assert isinstance(logits, Tensor)
    best = logits.topk(min(TOP, logits.shape[1])).indices.tolist()
    try:
        indices = [c if c is None else model.class_index(c, logits.shape[1]) for c in classes]
    except SeewhyError:
        return None
    return tuple(
        None if index is None else index in row for index, row in zip(indices, best, strict=True)
    )


def _logits(model: Model, pictures: Float[Tensor, "count c h w"]) -> Tensor:
    """Return the logits of pictures at the size that the model takes, on the CPU."""
    size = model.preparation.size
    if size is not None and size != tuple(pictures.shape[2:]):
        pictures = resized(pictures, size)
    with torch.no_grad():
        return torch.cat([model(part).float().cpu() for part in pictures.split(TOGETHER)])


def resized(
    pictures: Float[Tensor, "count c h w"], size: tuple[int, int]
) -> Float[Tensor, "count c H W"]:
    """Return pictures of another height and width."""
    return F.interpolate(
        pictures, size, mode="bilinear", antialias=True, align_corners=False
    ).clamp(0, 1)
