"""Attribution: Grad-CAM on one picture and on a batch, and the panel of all methods."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

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
    *(
        m
        for name, m in seewhy.methods().items()
        if name not in ("smoothgrad", "integrated-gradients")
    ),
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

    def __init__(self, name: str, batch: int):
        torch.manual_seed(0)
        self.name, self.layer = name, LAYERS[name]
        net = get_model(name, weights=None).eval()
        self.model = seewhy.Model(net, name=name)
        self.net = _without_in_place(net)
        self.peer_layer = self.net.get_submodule(self.layer)
        self.pixels = torch.rand(batch, 3, 224, 224)
        with torch.no_grad():
            self.target = net(self.pixels).argmax(1)
        pictures = tuple(Picture(p, "array") for p in self.pixels)
        self.batch = Batch(self.pixels, pictures, (View.identity(224, 224),) * batch)

    def explain(self, method: str, **parameters: object) -> Tensor:
        return seewhy.explain(self.model, self.batch, method, self.target, **parameters).attribution

    def check(self) -> None:
        """Both sides compute the same thing."""
        theirs = peers.captum_calls(self.net, self.peer_layer, self.pixels, self.target)
        for method in ("gradient", "deconvnet", "guided-backprop", "input-x-gradient"):
            _same(method, self.explain(method), theirs[method]())
        ours = self.explain("grad-cam", relu=False, layer=self.layer).sum(1, keepdim=True)
        _same("grad-cam", ours, theirs["grad-cam"]())


def cases(networks: list[str], runs: int) -> Iterator[Result]:
    """Every case, checked and timed."""
    for name in networks:
        for size in (1, 16):
            bench = Bench(name, size)
            bench.check()
            theirs = peers.captum_calls(bench.net, bench.peer_layer, bench.pixels, bench.target)
            packaged = peers.grad_cam(bench.net, bench.peer_layer, bench.pixels, bench.target)

            def ours(bench: Bench = bench) -> object:
                return bench.explain("grad-cam")

            for peer, run in (("captum", theirs["grad-cam"]), ("pytorch-grad-cam", packaged)):
                yield Result("Grad-CAM", name, size, peer, compare(ours, run, runs))

            def plain(bench: Bench = bench) -> object:
                with torch.no_grad():
                    return bench.net(bench.pixels)

            yield Result("Grad-CAM", name, size, "a plain forward", compare(ours, plain, runs))
        yield _panel(bench, theirs, runs)


def _panel(bench: Bench, theirs: dict, runs: int) -> Result:
    def ours() -> object:
        return seewhy.compare(bench.model, bench.batch, PANEL, bench.target)

    def peer() -> object:
        return [call() for call in theirs.values()]

    case = f"panel of {len(PANEL)} methods"
    comparison = compare(ours, peer, max(2, runs // 3))
    return Result(case, bench.name, len(bench.pixels), "captum, its 7 of them", comparison)


def _without_in_place(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net


def _same(what: str, ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    error = float((ours - theirs.detach()).abs().max() / theirs.abs().max())
    if not error < tolerance:
        raise AssertionError(f"{what}: the two sides differ by {error:.1e} of the largest value")
