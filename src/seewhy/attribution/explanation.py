"""The results of attribution methods: raw numbers, and everything that produced them.

An `Explanation` never holds a colour or a normalised map; `seewhy.show` draws figures from it. NaN
in a map stays NaN and is counted in `summary`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seewhy.errors import NotApplicable, Unknown
from seewhy.images import Batch
from seewhy.models.class_names import class_name
from seewhy.models.outputs import RAW, probabilities_of
from seewhy.results import Result
from seewhy.results.base import view
from seewhy.support.printable import printable


@dataclass(frozen=True)
class Cost:
    """The cost of an explanation. Counts are per map; `seconds` is for all maps together.

    `forwards` and `backwards` are the passes that the method uses, as if it ran alone for one
    question; `shared` of them were run once for all methods and questions of the panel.
    """

    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    shared: float = 0.0


@dataclass(frozen=True)
class Provenance:
    """Everything that is needed to reproduce the numbers."""

    model: str
    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    layer: str | None = None
    layer_chosen: bool = False  # True: chosen automatically, not given by the user
    seed: int | None = None
    precision: str = "full"
    device: str = "cpu"
    versions: Mapping[str, str] = field(default_factory=dict)
    question: str = ""  # the question that the method's map answers, in one line
    edits: tuple[str, ...] = ()  # addresses whose activations were edited


@dataclass(frozen=True, repr=False, eq=False)
class Explanation(Result):
    """The attribution maps of one method for a batch of pictures.

    - `score`: the number that is explained, per picture: the logit of the class `target`, or
      what `labels` names if `target` is -1 (a difference of logits, a hidden unit).
    - `heatmap`: raw and signed, at the resolution of the model's input; higher means more evidence.
    - `attribution`: the values before they are summed over channels and up-sampled:
      [batch, channels, h, w] on the method's own grid.
    - `signed`: whether negative values mean evidence against the target.
    - `residual`: for methods whose maps should sum to the score (completeness, conservation), the
      missing fraction of the explained difference, per picture; None for other methods.
    - `constants`: for methods that distribute the score (LRP), its share that biases and other
      constants keep, per picture; the map sums to the rest. Negative, or above one, where they and
      the map have opposite signs; None for other methods.
    - `outputs`: what the model puts out, here `logits` (see `seewhy.models.outputs`). Scores,
      features and maps of classes are `raw`: not turned into probabilities but shown as they are.
    """

    heatmap: Float[Tensor, "batch height width"]
    attribution: Float[Tensor, "batch channels h w"]
    batch: Batch
    target: Int[Tensor, " batch"]
    score: Float[Tensor, " batch"]
    logits: Float[Tensor, "batch classes"]
    classes: Sequence[str] | None
    provenance: Provenance
    signed: bool
    cost: Cost = Cost()
    residual: Float[Tensor, " batch"] | None = None
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    outputs: str = "logits"
    constants: Float[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        return self.heatmap.shape[0]

    def __getitem__(self, index: int | slice) -> "Explanation":
        """Return the explanation of one picture, as a batch of one, or of a slice of pictures."""
        if not isinstance(index, slice):
            i = range(len(self))[index]
            index = slice(i, i + 1)
        return dataclasses.replace(
            self,
            heatmap=self.heatmap[index],
            attribution=self.attribution[index],
            batch=self.batch[index],
            target=self.target[index],
            score=self.score[index],
            logits=self.logits[index],
            residual=None if self.residual is None else self.residual[index],
            constants=None if self.constants is None else self.constants[index],
            labels=self.labels[index],
        )

    def __iter__(self) -> Iterator["Explanation"]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        """The first targets, the method, its layer and the model, in one line."""
        shown = [view(self).target_text(self, i) for i in range(min(len(self), 3))]
        more = [f"{len(self) - 3} more"] if len(self) > 3 else []
        where = f" at {self.provenance.layer}" if self.provenance.layer else ""
        return printable(
            f"Explanation({', '.join(shown + more)}; {self.method}{where}; {self.provenance.model})"
        )

    @property
    def raw(self) -> bool:
        """Whether the outputs are shown themselves, and no probabilities are made of them."""
        return self.outputs in RAW

    @property
    def method(self) -> str:
        """The method's name, such as "grad-cam"."""
        return self.provenance.method

    @property
    def probabilities(self) -> Float[Tensor, " batch"]:
        """The probability of the explained class, per picture, in [0, 1].

        NaN if there is none: for a target that is not a class, and for a model whose outputs are
        not logits (`raw`). The explained number is then only in `score`.
        """
        index = self.target.clamp(min=0)[:, None]
        known = torch.full_like(self.target, not self.raw, dtype=torch.bool) & (self.target >= 0)
        return self.class_scores.gather(1, index)[:, 0].where(known, torch.nan)

    @property
    def class_scores(self) -> Float[Tensor, "batch classes"]:
        """The probability of each class, or its score if the model's outputs are `raw`.

        See `seewhy.models.outputs` for how probabilities are computed.
        """
        return probabilities_of(self.logits, self.outputs)

    def class_name(self, index: int) -> str:
        """Return the name of class `index`, or text such as "class 7" if it has no name."""
        return class_name(index, self.classes)

    @property
    def target_names(self) -> list[str]:
        """The explained target per picture: a class name, or "dog − cat" or "layer3:17"."""
        labels = self.labels or [""] * len(self)
        return [
            self.class_name(index) if index >= 0 else label
            for index, label in zip(self.target.tolist(), labels, strict=True)
        ]

    def top(self, count: int = 5) -> list[list[tuple[str, float]]]:
        """Return the `count` most probable classes per picture as (name, probability).

        If the model's outputs are not logits: those with the highest scores, as (name, score).
        """
        best = self.class_scores.topk(min(count, self.logits.shape[1]))
        return [
            [(self.class_name(int(c)), float(p)) for p, c in zip(values, indices, strict=True)]
            for values, indices in zip(best.values, best.indices, strict=True)
        ]

    def to_original(self) -> list[Float[Tensor, "H W"]]:
        """Return each heatmap at the original picture's resolution, with NaN outside the crop."""
        return [
            view.to_original(heatmap)
            for heatmap, view in zip(self.heatmap, self.batch.views, strict=True)
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Panel(Result):
    """The explanations of several methods for the same pictures and targets.

    `skipped` holds (method name, reason) for methods that do not apply to the model.
    """

    explanations: tuple[Explanation, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """The methods, the number of skipped methods, and the models, in one line."""
        skipped = f"; {len(self.skipped)} skipped" if self.skipped else ""
        models = dict.fromkeys(e.provenance.model for e in self)
        return printable(
            f"Panel({', '.join([e.method for e in self])}{skipped}; {', '.join(models)})"
        )

    def __len__(self) -> int:
        return len(self.explanations)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.explanations)

    def __getitem__(self, method: str) -> Explanation:
        """Return this method's explanation; raises NotApplicable if it was skipped, or Unknown."""
        for explanation in self.explanations:
            if explanation.method == method:
                return explanation
        reasons = dict(self.skipped)
        if method in reasons:
            raise NotApplicable(reasons[method])
        raise Unknown("method in this panel", method, [e.method for e in self.explanations])


def joined(parts: Sequence[Explanation]) -> Explanation:
    """Concatenate one method's explanations of several batches; seconds add up, passes average."""
    if len(parts) == 1:
        return parts[0]
    counts = [len(part) for part in parts]

    def mean(values: Sequence[float]) -> float:
        return sum(v * n for v, n in zip(values, counts, strict=True)) / sum(counts)

    costs = [part.cost for part in parts]
    residuals = [part.residual for part in parts if part.residual is not None]
    constants = [part.constants for part in parts if part.constants is not None]
    return dataclasses.replace(
        parts[0],
        heatmap=torch.cat([part.heatmap for part in parts]),
        attribution=torch.cat([part.attribution for part in parts]),
        batch=Batch.joined(part.batch for part in parts),
        target=torch.cat([part.target for part in parts]),
        score=torch.cat([part.score for part in parts]),
        logits=torch.cat([part.logits for part in parts]),
        residual=torch.cat(residuals) if residuals else None,
        constants=torch.cat(constants) if constants else None,
        cost=Cost(
            mean([c.forwards for c in costs]),
            mean([c.backwards for c in costs]),
            sum(c.seconds for c in costs),
            mean([c.shared for c in costs]),
        ),
        notes=tuple(dict.fromkeys(n for part in parts for n in part.notes)),
        labels=tuple(label for part in parts for label in part.labels),
    )
