"""On a GPU every method gives the map that it gives on the CPU, and the model stays where it is."""

import pytest
import torch

import seewhy
from networks import NETWORKS, as_model
from seewhy.errors import NotApplicable
from test_contract import METHODS, assert_close, quick

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU")

HERE = ["batch_norm", "residual_in_place", "concatenation", "grey", "vit"]


def on(device: str, network: str) -> seewhy.Model:
    """In float64 no rounding turns a rectifier, a maximum or a rank."""
    case = NETWORKS[network]
    return as_model(case.build().double().to(device), case.shape[0])


@pytest.mark.parametrize("network", HERE)
@pytest.mark.parametrize("method", METHODS)
def test_the_map_is_that_of_the_cpu(method: str, network: str):
    pixels = NETWORKS[network].pixels(2)
    try:
        expected = seewhy.explain(on("cpu", network), pixels, quick(method))
    except NotApplicable as reason:
        pytest.skip(f"not applicable: {reason}")
    found = seewhy.explain(on("cuda", network), pixels, quick(method))
    assert found.heatmap.device.type == "cpu" and found.provenance.device.startswith("cuda")
    assert_close(found.heatmap.double(), expected.heatmap.double(), 1e-3)
    assert (found.cost.forwards, found.cost.backwards) == pytest.approx(
        (expected.cost.forwards, expected.cost.backwards)
    )


@pytest.mark.parametrize("method", METHODS)
def test_in_the_networks_own_precision_and_fast(method: str):
    model = seewhy.open_model("scenes", device="cuda")
    for precision in ("full", "fast"):
        try:
            e = seewhy.explain(model, torch.rand(3, 64, 64), quick(method), precision=precision)
        except NotApplicable:
            return
        assert bool(e.heatmap.isfinite().all())
    assert model.device.type == "cuda"


def test_channels_responses_and_incremental_inference():
    on_gpu, on_cpu = (seewhy.open_model("scenes", device=d) for d in ("cuda", "cpu"))
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for model in (on_gpu, on_cpu):
        found = seewhy.extremal_channels(model, pixels, "stages.1", shares=(0.2,), steps=5)
        assert bool(found.kept.isfinite().all())
    extremal = quick("extremal-perturbation")
    e = seewhy.explain(on_gpu, pixels, extremal)
    assert seewhy.sufficiency_curve(on_gpu, e).kept.shape == (2, 3)
    occlusions = [
        seewhy.explain(model, pixels, "occlusion", window=8, stride=4).heatmap
        for model in (on_gpu, on_cpu)
    ]
    assert_close(*occlusions, 1e-2)
