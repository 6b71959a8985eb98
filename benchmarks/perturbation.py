"""Methods that change the input, beside bare inference and peers.

`python -m benchmarks.perturbation` prints three tables: how many pictures a second are scored, as
a share of bare inference in the same precision; the time beside captum's occlusion and
pytorch-grad-cam's Score-CAM, each at the best of several batch sizes; and incremental inference
beside whole forwards of ours.
"""

import argparse
import time
from collections.abc import Callable

import torch
from captum.attr import Occlusion
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor
from torchvision.models import get_model

import seewhy
from seewhy.incremental import Incremental
from seewhy.inference import Inference, prepare
from seewhy.session import borrowed

BATCH = 8
WINDOW, STRIDE = 16, 8


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perturbation")
    parser.add_argument("--weights", help="of SqueezeNet 1.1; random without")
    parser.add_argument("--networks", default="squeezenet1_1,googlenet,resnet50,vgg16")
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--masks", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(2)
    model = seewhy.open_model("torchvision/squeezenet1_1", weights=given.weights or "random")
    pixels = torch.rand(given.pictures, 3, 224, 224)
    throughput(model, pixels, given.masks)
    beside_peers(model, pixels[:1])
    for name in given.networks.split(","):
        incremental(name)


def throughput(model: seewhy.Model, pixels: Tensor, masks: int) -> None:
    """Pictures a second as a share of bare inference."""
    print("| method | precision | bare, ms a picture | ours, ms a picture | share |")
    print("|---|---|---|---|---|")
    methods = {"rise": {"masks": masks}, "occlusion": {"window": 40, "stride": 8}, "score-cam": {}}
    for precision in ("full", "fast"):
        for name, options in methods.items():
            begun = time.perf_counter()
            e = seewhy.explain(model, pixels, name, precision=precision, **options)
            ours = (time.perf_counter() - begun) / (len(pixels) * e.cost.forwards)
            bare = _bare(model, precision, int(len(pixels) * e.cost.forwards))
            figures = f"{1e3 * bare:.2f} | {1e3 * ours:.2f} | {bare / ours:.2f}"
            print(f"| {name} | {precision} | {figures} |", flush=True)


def beside_peers(model: seewhy.Model, pixels: Tensor) -> None:
    """Seconds beside the best setting of the peer, and how well bfloat16 ranks."""
    print(
        "\n| method | peer | peer, s | ours, s | times | bfloat16, s | times | rank correlation |"
    )
    print("|---|---|---|---|---|---|---|---|")
    net = model.net.eval()
    normal = (pixels - model.mean) / model.std
    target = int(model(pixels).argmax(1))
    layer = model.find_layer(pixels)

    def occlusion(batch: int) -> None:
        Occlusion(net).attribute(
            normal, (3, WINDOW, WINDOW), (3, STRIDE, STRIDE), 0.0, target,
            perturbations_per_eval=batch,
        )  # fmt: skip

    def score_cam(batch: int) -> None:
        with ScoreCAM(net, [net.get_submodule(layer)]) as cam:
            cam.batch_size = batch
            cam(normal, [ClassifierOutputTarget(target)])

    ours = {"occlusion": {"window": WINDOW, "stride": STRIDE}, "score-cam": {"layer": layer}}
    for peer, name, run in (
        ("captum", "occlusion", occlusion),
        ("pytorch-grad-cam", "score-cam", score_cam),
    ):
        theirs = min(_seconds(run, batch) for batch in (1, 8, 32))
        maps, spent = [], []
        for precision in ("full", "fast"):
            begun = time.perf_counter()
            e = seewhy.explain(model, pixels, name, target, precision=precision, **ours[name])
            spent.append(time.perf_counter() - begun)
            maps.append(e.heatmap.flatten())
        print(
            f"| {name} | {peer} | {theirs:.2f} | {spent[0]:.2f} | {theirs / spent[0]:.1f} "
            f"| {spent[1]:.2f} | {theirs / spent[1]:.1f} | {_rank_correlation(*maps):.3f} |",
            flush=True,
        )


def incremental(name: str) -> None:
    """Windows by incremental inference, beside whole forwards of ours."""
    options = {"init_weights": False} if name == "googlenet" else {}
    model = seewhy.Model(get_model(name, weights=None, **options).eval(), name=name)
    picture = torch.rand(1, 3, 224, 224)
    starts = torch.arange(0, 224 - WINDOW + 1, STRIDE)
    top, left = (g.flatten() for g in torch.meshgrid(starts, starts, indexing="ij"))
    with borrowed(model.net), torch.no_grad():
        net = prepare(model, picture)
        normal = net.normalised(picture)
        whole = _bare(model, "full", 64)
        run = Incremental(net.logits)
        patches = torch.zeros(32, 3, WINDOW, WINDOW)
        run(normal, patches[:1], top[:1], left[:1])
        begun, wrong = time.perf_counter(), 0.0
        parts = list(torch.arange(len(top)).split(32))
        found = [run(normal, patches[: len(p)], top[p], left[p]) for p in parts]
        spent = (time.perf_counter() - begun) / len(top)
        for part, logits in list(zip(parts, found, strict=True))[::6]:
            wrong = max(wrong, _apart(net, normal, top[part[:4]], left[part[:4]], logits[:4]))
    print(
        f"{name}: {len(top)} windows of {WINDOW} px; whole {1e3 * whole:.1f} ms, incremental "
        f"{1e3 * spent:.1f} ms: {whole / spent:.2f} times, largest relative difference {wrong:.0e}",
        flush=True,
    )


def _apart(net: Inference, normal: Tensor, top: Tensor, left: Tensor, found: Tensor) -> float:
    copies = normal.repeat(len(top), 1, 1, 1)
    for copy, y, x in zip(copies, top.tolist(), left.tolist(), strict=True):
        copy[:, y : y + WINDOW, x : x + WINDOW] = 0
    expected = net.logits(copies)
    return float((found - expected).abs().max() / expected.abs().max())


def _bare(model: seewhy.Model, precision: str, count: int) -> float:
    """Seconds a picture of bare inference: the network alone, on a batch that is there already."""
    with borrowed(model.net), torch.no_grad():
        net = prepare(model, torch.rand(1, 3, 224, 224), precision)
        batch = net.model.laid_out(net.normalised(torch.rand(BATCH, 3, 224, 224)))
        net.logits(batch)
        rounds = max(4, min(40, count // BATCH))
        begun = time.perf_counter()
        for _ in range(rounds):
            net.logits(batch)
        return (time.perf_counter() - begun) / (rounds * BATCH)


def _seconds(run: Callable[[int], None], batch: int) -> float:
    begun = time.perf_counter()
    run(batch)
    return time.perf_counter() - begun


def _rank_correlation(one: Tensor, other: Tensor) -> float:
    ranks = torch.stack([v.argsort().argsort().double() for v in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


if __name__ == "__main__":
    main()
