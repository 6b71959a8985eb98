"""Networks drawn at random from the layers that vision networks are made of.

Each kind of fault that was once found in one network is tested on all that can be drawn: another
gradient for a picture alone than in a batch, one method that takes a panel down, relevance that is
lost or counted twice.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import seewhy
from seewhy.errors import NotApplicable

SIDE, CHANNELS = 16, 6

# What may stand before the first convolution: how many channels come out of three, and how.
FRONTS = {
    "none": (3, lambda x: x),
    "grey": (1, lambda x: x.mean(1, keepdim=True)),
    "normalised": (3, lambda x: (x - 0.4) / 0.3),
    "space to depth": (12, lambda x: F.pixel_unshuffle(x, 2)),
    "resized": (3, lambda x: F.interpolate(x, (12, 12), mode="bilinear")),
    "reflected": (3, lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
    "coordinates": (4, lambda x: torch.cat([x, x.new_ones(len(x), 1, *x.shape[2:])], 1)),
}
BLOCKS = {
    "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
    "depthwise": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
    "circular": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, padding_mode="circular"),
    "batch norm": lambda: nn.BatchNorm2d(CHANNELS),
    "instance norm": lambda: nn.InstanceNorm2d(CHANNELS, affine=True),
    "statistics": lambda: nn.InstanceNorm2d(CHANNELS, affine=True, track_running_stats=True),
    "group norm": lambda: nn.GroupNorm(2, CHANNELS),
    "relu": nn.ReLU,
    "in place": lambda: nn.ReLU(inplace=True),
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7),
    "relu6": nn.ReLU6,
    "gelu": nn.GELU,
    "swish": nn.SiLU,
    "softsign": nn.Softsign,
    "shrink": lambda: nn.Softshrink(0.1),
    "maximum": lambda: nn.MaxPool2d(3, 1, 1),
    "average": lambda: nn.AvgPool2d(3, 1, 1),
    "scaled": lambda: nn.Upsample(scale_factor=1.5, mode="nearest"),
}


class Drawn(nn.Module):
    """A front, a convolution, blocks (some with a path around them), and a linear head."""

    def __init__(self, front: str, blocks: list[tuple[str, bool]], seed: int):
        super().__init__()
        channels, self.front = FRONTS[front]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(channels, CHANNELS, 3)
            self.blocks = nn.ModuleList(BLOCKS[name]() for name, _ in blocks)
            self.fc = nn.Linear(CHANNELS, 4)
            self.double()
            for norm in (m for m in self.modules() if getattr(m, "running_var", None) is not None):
                norm.running_mean.normal_(0, 0.2)
                norm.running_var.uniform_(0.5, 2)
        # A copy goes around: what follows may write into its input.
        self.around = [around and name != "scaled" for name, around in blocks]
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.front(x))
        for block, around in zip(self.blocks, self.around, strict=True):
            x = x + block(x.clone()) if around else block(x)
        return self.fc(x.mean((2, 3)))


NETWORKS = st.builds(
    Drawn,
    st.sampled_from(list(FRONTS)),
    st.lists(st.tuples(st.sampled_from(list(BLOCKS)), st.booleans()), max_size=5),
    st.integers(0, 100),
)
drawn = given(NETWORKS, st.integers(0, 100))
quickly = settings(deadline=None, max_examples=25, derandomize=True)


def opened(net: nn.Module) -> seewhy.Model:
    return seewhy.Model(net, mean=[0.45] * 3, std=[0.25] * 3)


def pictures(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@quickly
@drawn
def test_the_gradient_alone_and_in_a_batch_is_autograds(net: Drawn, seed: int):
    pixels, model = pictures(seed), opened(net)
    leaf = pixels.double().requires_grad_()
    logits = net((leaf - model.mean) / model.std)
    (expected,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    together = seewhy.explain(model, pixels, "gradient", 1).attribution.double()
    alone = torch.cat([seewhy.explain(model, p[None], "gradient", 1).attribution for p in pixels])
    scale = float(expected.abs().max()) + 1e-12
    assert float((together - expected).abs().max()) < 1e-5 * scale
    assert float((alone.double() - expected).abs().max()) < 1e-5 * scale


@quickly
@drawn
def test_a_method_that_does_not_apply_says_why_and_takes_none_with_it(net: Drawn, seed: int):
    methods = [name for name in seewhy.methods() if name.startswith("lrp-")]
    panel = seewhy.compare(opened(net), pictures(seed, 1), ["gradient", *methods, "deep-lift"], 0)
    assert panel["gradient"].heatmap.shape == (1, SIDE, SIDE)
    for name, reason in panel.skipped:
        assert "\n" not in reason and "failed with" not in reason, f"{name}: {reason}"


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-epsilon-plus", "deep-lift", "fullgrad"])
@quickly
@drawn
def test_no_relevance_is_lost_or_counted_twice(method: str, net: Drawn, seed: int):
    options = {} if method in ("deep-lift", "fullgrad") else {"epsilon": 1e-12}
    try:
        e = seewhy.explain(opened(net), pictures(seed), method, 2, **options)
    except NotApplicable as reason:
        assert "no rule" in str(reason) or "depends on" in str(reason)
        return
    # Relative to the score, or to what was added up to get it.
    size = e.score.abs() / (e.score.abs() + e.heatmap.abs().sum((1, 2)))
    assert e.residual is not None and bool((e.residual * size < 1e-5).all())
