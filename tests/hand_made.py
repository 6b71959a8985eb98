"""Small explanations made by hand, with all that an explanation can hold."""

import dataclasses

import pytest
import torch

from seewhy.attribution.explanation import Cost, Explanation, Panel, Provenance
from seewhy.images import Batch, Picture, View

CLASSES = ["tabby", "$x^2_cat", "<script>alert(1)</script>"]


@pytest.fixture
def explanation() -> Explanation:
    """Two pictures of 12 x 16, signed maps, a residual, a parameter of every kind."""
    generator = torch.Generator().manual_seed(0)
    bytes_ = torch.randint(0, 256, (2, 3, 20, 30), generator=generator)
    pictures = (
        Picture(bytes_[0].float() / 255, "photos/<b>one</b>.png", ("first of 12 frames",)),
        Picture(torch.rand(3, 20, 30, generator=generator), "array"),
    )
    view = View((20, 30), (2.0, 3.5, 15.0, 20.0), (12, 16))
    pixels = torch.rand(2, 3, 12, 16, generator=generator)
    attribution = torch.randn(2, 1, 12, 16, generator=generator)
    parameters = {
        "steps": 20,
        "reference": (0.0, 0.5, 1.0),
        "window": [3, 5],
        "limit": float("inf"),
        "nested": {"absolute": True, "name": None},
    }
    return Explanation(
        heatmap=attribution[:, 0],  # shares memory, as real ones do
        attribution=attribution,
        batch=Batch(pixels, pictures, (view, view)),
        target=torch.tensor([0, 2]),
        score=torch.tensor([3.0, 1.0]),
        logits=torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]]),
        classes=CLASSES,
        provenance=Provenance(
            "small/net",
            "integrated-gradients",
            parameters,
            layer="features.3",
            layer_chosen=True,
            seed=7,
            versions={"torch": "2.x"},
        ),
        signed=True,
        cost=Cost(20.0, 20.0, 0.5, 1.0),
        residual=torch.tensor([0.003, -0.2]),
        notes=("the reference is a black picture",),
    )


@pytest.fixture
def unsigned(explanation: Explanation) -> Explanation:
    """A coarse map with one sign, of a method without a layer or a residual."""
    coarse = torch.arange(24.0).reshape(2, 1, 3, 4)
    return dataclasses.replace(
        explanation,
        heatmap=torch.nn.functional.interpolate(coarse, (12, 16))[:, 0],
        attribution=coarse,
        provenance=Provenance("small/net", "occlusion", question="What if <it> were hidden?"),
        signed=False,
        residual=None,
        notes=(),
    )


@pytest.fixture
def questions(explanation: Explanation) -> Explanation:
    """One picture, asked about a class and about a hidden unit."""
    batch = explanation.batch
    twice = Batch(batch.pixels[[0, 0]], batch.pictures[:1] * 2, batch.views[:1] * 2)
    return dataclasses.replace(
        explanation,
        batch=twice,
        target=torch.tensor([2, -1]),
        score=torch.tensor([0.0, -5.25]),
        logits=explanation.logits[[0, 0]],
        labels=("", "layer3<b>:17"),
    )


@pytest.fixture
def panel(explanation: Explanation, unsigned: Explanation) -> Panel:
    return Panel((explanation, unsigned), (("attention-rollout", "no <i>attention</i> layers"),))


@pytest.fixture
def broken(explanation: Explanation) -> Explanation:
    """The first map holds NaN and infinity, the second is zero."""
    heatmap = explanation.heatmap.clone()
    heatmap[0, :3, :4] = float("nan")
    heatmap[0, 5, 5] = float("inf")
    heatmap[1] = 0
    return dataclasses.replace(explanation, heatmap=heatmap)
