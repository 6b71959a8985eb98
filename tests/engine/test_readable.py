"""For a network that cannot be differentiated, all methods raise the same one-line error."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import seewhy
from seewhy.errors import NotApplicable, SeewhyError

NEED_A_GRADIENT = (
    "gradient", "smoothgrad", "integrated-gradients", "guided-backprop", "deconvnet",
    "lrp-epsilon-plus", "deep-lift", "excitation-backprop", "grad-cam", "fullgrad",
)  # fmt: skip
PIXELS = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def small() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()


class Hidden(nn.Module):
    """The same network, run in a way that has no gradient, or only a partial one."""

    def __init__(self, kind: str):
        super().__init__()
        self.net, self.kind = small(), kind

    def forward(self, x: Tensor) -> Tensor:
        match self.kind:
            case "inference mode":
                with torch.inference_mode():
                    return self.net(x)
            case "no gradient":
                with torch.no_grad():
                    return self.net(x)
            case "no gradient at first":
                with torch.no_grad():
                    x = self.net[:2](x)
                return self.net[2:](x)
            case _:
                return self.net[2:](checkpoint(self.net[:2], x, use_reentrant=True))


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(small(), {nn.Linear}, dtype=torch.qint8)


NETWORKS = {
    "inference mode": (lambda: Hidden("inference mode"), "torch.inference_mode()"),
    "no gradient": (lambda: Hidden("no gradient"), "torch.no_grad()"),
    "no gradient at first": (lambda: Hidden("no gradient at first"), "torch.no_grad()"),
    "checkpoint": (lambda: Hidden("checkpoint"), "use_reentrant"),
    "quantised": (quantised, "quantised"),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", NEED_A_GRADIENT)
@pytest.mark.filterwarnings("ignore")
def test_refused_in_one_line_or_right(network: str, method: str):
    build, words = NETWORKS[network]
    try:
        found = seewhy.explain(build().eval(), PIXELS, method, 1).heatmap
    except SeewhyError as refusal:
        assert isinstance(refusal, NotApplicable) and "\n" not in str(refusal)
        gradient_alone = method in ("gradient", "smoothgrad", "integrated-gradients")
        assert words in str(refusal) or not gradient_alone
        return
    expected = seewhy.explain(small(), PIXELS, method, 1).heatmap
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.filterwarnings("ignore")
def test_what_needs_no_gradient_works_and_a_panel_survives(network: str):
    net = NETWORKS[network][0]().eval()
    panel = seewhy.compare(net, PIXELS, ["gradient", "occlusion", "lrp-epsilon"], 1)
    assert "occlusion" in [e.method for e in panel]
    expected = seewhy.explain(small(), PIXELS, "occlusion", 1).heatmap
    tolerance = (0.1 if network == "quantised" else 1e-4) * float(expected.abs().max())
    torch.testing.assert_close(panel["occlusion"].heatmap, expected, rtol=0, atol=tolerance)
    assert {name for name, _ in panel.skipped} == {"gradient", "lrp-epsilon"}
    assert all(reason for _, reason in panel.skipped)


def test_a_network_exported_for_one_batch_size():
    net = torch.export.export(small(), (PIXELS,)).module()
    with pytest.raises(SeewhyError, match="takes batches of 2 only; export it with a dynamic"):
        seewhy.explain(net, PIXELS, "grad-cam", 1)


@pytest.mark.parametrize("compiled", [torch.jit.script, lambda n: torch.jit.trace(n, PIXELS)])
@pytest.mark.filterwarnings("ignore")
def test_fullgrad_does_not_leave_out_biases_that_it_cannot_see(compiled):
    with pytest.raises(NotApplicable, match="TorchScript"):
        seewhy.explain(compiled(small()), PIXELS, "fullgrad", 1)
