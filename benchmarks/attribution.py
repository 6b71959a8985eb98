"""Attribution: Grad-CAM on one picture and on a batch, and the panel of all methods."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import get_model

import seewhy
from benchmarks import peers
from benchmarks.timing import Comparison, compare
from seewhy.images import Batch, Picture, View

LAYERS = {"squeezenet1_1": "features", "resnet50": "layer4"}
PANEL = [
    seewhy.methods()["smoothgrad"](samples=peers.SAMPLES, noise=peers.NOISE),
    seewhy.methods()["integrated-gradients"](steps=peers.STEPS),
    *("gradient", "input-x-gradient", "deconvnet", "guided-backprop", "cam", "grad-cam"),
]


@dataclass(frozen=True)
class Result:
    """One row of the table."""

    case: str
    network: str
    batch: int
    peer: str
    comparison: Comparison


class Bench:
    """One network, ours and the peers' copy of it, and a batch of pictures."""

    def __init__(self, name: str, batch: int, dtype: torch.dtype = torch.float32):
        torch.manual_seed(0)
        self.name, self.layer = name, LAYERS[name]
        net = get_model(name, weights=None).eval().to(dtype)
        self.model = seewhy.Model(net, name=name)
        self.net = _without_in_place(net)
        self.pixels = torch.rand(batch, 3, 224, 224).to(dtype)
        with torch.no_grad():
            self.target = net(self.pixels).argmax(1)
        pictures = tuple(Picture(p.float(), "array") for p in self.pixels)
        self.batch = Batch(self.pixels, pictures, (View.identity(224, 224),) * batch)
        peer_layer = self.net.get_submodule(self.layer)
        self.captum = peers.captum_calls(self.net, peer_layer, self.pixels, self.target)
        self.grad_cam = peers.grad_cam(self.net, peer_layer, self.pixels, self.target)

    def explain(self, method: str, **parameters: object) -> Tensor:
        """Our attribution, of the same classes."""
        return seewhy.explain(self.model, self.batch, method, self.target, **parameters).attribution

    def plain_forward(self) -> Tensor:
        """All pictures at once, as one would call the network."""
        with torch.no_grad():
            return self.net(self.pixels)


def check(name: str) -> None:
    """Both sides compute the same thing; in float64, where rounding flips no rectifier."""
    bench = Bench(name, 2, torch.float64)
    for method in ("gradient", "deconvnet", "guided-backprop", "input-x-gradient"):
        _same(method, bench.explain(method), bench.captum[method]())
    steps = bench.explain("integrated-gradients", steps=peers.STEPS)
    # captum's default baseline is zero, and so is ours where nothing is normalised.
    _same("integrated-gradients", steps, bench.captum["integrated-gradients"]())
    ours = bench.explain("grad-cam", relu=False, layer=bench.layer).sum(1, keepdim=True)
    _same("grad-cam", ours, bench.captum["grad-cam"]())


def cases(networks: list[str], runs: int) -> Iterator[Result]:
    """Every case, checked and timed."""
    for name in networks:
        check(name)
        for size in (1, 16):
            bench = Bench(name, size)
            ours = partial(bench.explain, "grad-cam")
            theirs = {
                "captum": bench.captum["grad-cam"],
                "pytorch-grad-cam": bench.grad_cam,
                "a plain forward": bench.plain_forward,
            }
            for peer, run in theirs.items():
                yield Result("Grad-CAM", name, size, peer, compare(ours, run, runs))
        yield _panel(bench, max(2, runs // 3))


def _panel(bench: Bench, runs: int) -> Result:
    def ours() -> object:
        return seewhy.compare(bench.model, bench.batch, PANEL, bench.target)

    def theirs() -> object:
        return [call() for call in bench.captum.values()]

    peer = f"captum, {len(bench.captum)} of them one by one"
    comparison = compare(ours, theirs, runs)
    return Result(f"panel of {len(PANEL)}", bench.name, len(bench.pixels), peer, comparison)


def _without_in_place(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net


def _same(what: str, ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    theirs = theirs.detach()
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    if not error < tolerance:
        raise AssertionError(f"{what}: the two sides differ by {error:.1e} of the largest value")
