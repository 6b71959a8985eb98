"""Attribution cases: Grad-CAM on one picture and on a batch, LRP, and panels of methods."""

import copy
from collections.abc import Callable, Iterator, Mapping
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
EIGHT = [
    seewhy.methods()["smoothgrad"](samples=peers.SAMPLES, noise=peers.NOISE),
    seewhy.methods()["integrated-gradients"](steps=peers.STEPS),
    *("gradient", "input-x-gradient", "deconvnet", "guided-backprop", "cam", "grad-cam"),
]
# Methods that need a single backward pass, from three peers.
TWELVE = [
    *("gradient", "input-x-gradient", "deconvnet", "guided-backprop", "deep-lift"),
    *("grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam"),
    *("lrp-epsilon-plus-flat", "lrp-epsilon-gamma-box"),
]
COMPOSITES = ["lrp-epsilon-plus-flat", "lrp-epsilon-gamma-box"]


@dataclass(frozen=True)
class Case:
    """One row of the table before it is measured."""

    case: str
    network: str
    batch: int
    peer: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    runs: int

    def run(self) -> Comparison:
        """Time both sides."""
        return compare(self.ours, self.theirs, self.runs)


class Bench:
    """A network, a copy of it for the peers, and a batch of pictures."""

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
        self.cams = peers.cam_calls(self.net, peer_layer, self.pixels, self.target)
        self.zennit = peers.zennit_calls(self.net, self.pixels, self.target)

    def explain(self, method: str, **parameters: object) -> Tensor:
        """Compute our attribution for the same target classes."""
        return seewhy.explain(self.model, self.batch, method, self.target, **parameters).attribution

    def plain_forward(self) -> Tensor:
        """Run the network on all pictures at once."""
        with torch.no_grad():
            return self.net(self.pixels)


def check(name: str) -> None:
    """Check that both sides give the same maps; in float64, so that rounding flips no ReLU."""
    bench = Bench(name, 2, torch.float64)
    for method in ("gradient", "deconvnet", "guided-backprop", "input-x-gradient"):
        _same(method, bench.explain(method), bench.captum[method]())
    steps = bench.explain("integrated-gradients", steps=peers.STEPS)
    # captum's default baseline is zero; so is ours without normalisation.
    _same("integrated-gradients", steps, bench.captum["integrated-gradients"]())
    ours = bench.explain("grad-cam", relu=False, layer=bench.layer).sum(1, keepdim=True)
    _same("grad-cam", ours, bench.captum["grad-cam"]())
    for composite in COMPOSITES:
        # zennit's stabiliser is larger, and includes the eps of merged batch normalisations; with
        # both made equal, the tests find a difference of 1e-6.
        _same(composite, bench.explain(composite), bench.zennit[composite](), 5e-3)


def cases(networks: list[str], runs: int) -> Iterator[Case]:
    """Yield all cases; the maps of each network are checked first."""
    for name in networks:
        check(name)
        for size in (1, 16):
            bench = Bench(name, size)
            ours = partial(bench.explain, "grad-cam")
            theirs = {
                "captum": bench.captum["grad-cam"],
                "pytorch-grad-cam": bench.cams["grad-cam"],
                "a plain forward": bench.plain_forward,
            }
            for peer, run in theirs.items():
                yield Case("Grad-CAM", name, size, peer, ours, run, runs)
        few = max(2, runs // 3)
        for composite in COMPOSITES:
            ours = partial(bench.explain, composite)
            yield Case(composite, name, size, "zennit", ours, bench.zennit[composite], few)
        yield _panel(bench, EIGHT, bench.captum, "captum", few)
        everyone = {**bench.cams, **bench.captum, **bench.zennit}
        if name == "resnet50":
            del everyone["deep-lift"]  # captum's does not support ReLUs that are used twice
        twelve = [method for method in TWELVE if method in everyone]
        yield _panel(bench, twelve, everyone, "captum, pytorch-grad-cam, zennit", few)


def _panel(
    bench: Bench, panel: list, peers: Mapping[str, Callable[[], Tensor]], peer: str, runs: int
) -> Case:
    names = [method if isinstance(method, str) else method.name for method in panel]
    calls = [peers[name] for name in names if name in peers]  # captum has no CAM

    def ours() -> object:
        return seewhy.compare(bench.model, bench.batch, panel, bench.target)

    def theirs() -> object:
        return [call() for call in calls]

    peer = f"{peer}, {len(calls)} one by one"
    return Case(f"panel of {len(panel)}", bench.name, len(bench.pixels), peer, ours, theirs, runs)


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
