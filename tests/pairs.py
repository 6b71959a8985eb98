"""Which pairs of method and network the contract suite runs every time, and which under `full`.

All methods on all networks are about 11,000 tests, most of which run the same lines: what a
network can break is the mechanism by which a method reads it, and methods share mechanisms. So
every method runs on six networks that differ most, one method of each mechanism on all networks,
and the callers' modes on two. `pytest -m "full or not full"` runs the whole product.
"""

from collections.abc import Collection, Iterable

import pytest

# Batch normalisation, in-place residuals, branches that are joined, tokens, tokens in windows
# with channels last, one channel.
NETWORKS_FOR_ALL = (
    "batch_norm",
    "residual_in_place",
    "concatenation",
    "vit",
    "swin_like",
    "grey",
)
NETWORKS_FOR_MODES = ("batch_norm", "vit")

# Mechanism -> the method that stands for it.
REPRESENTATIVES = {
    "gradient at the pixels": "gradient",
    "gradients of variants, random": "smoothgrad",
    "rules for rectifiers": "guided-backprop",
    "relevance": "lrp-epsilon-plus",
    "relevance put straight on the pixels": "lrp-epsilon-gamma-box",
    "excitation": "excitation-backprop",
    "differences from a second forward": "deep-lift",
    "activation and gradient of a layer": "grad-cam",
    "the last linear layer": "cam",
    "all biases": "fullgrad",
    "attention": "gradient-rollout",
    "windows": "occlusion",
    "random masks": "rise",
    "edits of a layer": "ablation-cam",
    "surrogate on segments": "kernel-shap",
    "learned masks": "extremal-perturbation",
}


# Those that could let one picture change another's map: by a backward of the whole batch, by
# references, by masks that are shared, by windows.
MIXERS = ("gradient", "lrp-epsilon-plus", "deep-lift", "rise", "occlusion")

FULL = pytest.mark.full

WITH_FULL = False  # whether they are collected at all, which takes a while; set by conftest


def sampled(
    pairs: Iterable[tuple[str, str]],
    everywhere: Collection[str] = frozenset(REPRESENTATIVES.values()),
    networks: Collection[str] = NETWORKS_FOR_ALL,
) -> list[object]:
    """The pairs (method, network) as parameters; those beyond the sample are marked `full`.

    In the sample are all methods on `networks`, and the methods `everywhere` on all networks.
    """
    parameters: list[object] = []
    for method, network in pairs:
        if network in networks or method in everywhere:
            parameters.append((method, network))
        elif WITH_FULL:
            parameters.append(pytest.param(method, network, marks=FULL))
    return parameters
