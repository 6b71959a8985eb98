"""Methods that change the input, compared with bare inference and with other libraries.

`python -m benchmarks.perturbation --images FOLDER --weights FILE` prints three tables: the
throughput of scored variants, as a fraction of bare inference in the same precision; the time
compared with captum's occlusion and pytorch-grad-cam's Score-CAM, each at the best of several
batch sizes; and incremental inference compared with full forward passes.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import get_model

import seewhy
from benchmarks.keeping import Row, clock, show
from seewhy.engine.incremental import Incremental
from seewhy.engine.inference import Inference, prepare
from seewhy.models.session import borrowed

BATCH = {"cpu": 8, "cuda": 256}  # of bare inference, like ours
PEERS = {"cpu": (1, 8, 32), "cuda": (32, 256)}  # batch sizes to try
WINDOW, STRIDE = 16, 8
TOGETHER = 32  # windows in one forward
PRECISIONS = ("full", "fast")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perturbation")
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--weights", required=True, help="weights file for SqueezeNet 1.1")
    parser.add_argument("--networks", default="squeezenet1_1,googlenet,resnet50,vgg16")
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path, help="file for the measurements")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = seewhy.open_model(
        "torchvision/squeezenet1_1", weights=given.weights, device=given.device
    )
    files = sorted(given.images.glob("*.jpg"))
    files = files[:: max(1, len(files) // given.pictures)][: given.pictures]
    pixels = model.prepare([str(file) for file in files]).pixels
    key = ("case", "precision", "network", "peer")
    show(throughput(model, pixels, given.masks, given.runs), given.json, key)
    show(beside_peers(model, pixels[:1]), given.json, key)
    names = given.networks.split(",")
    show((incremental(n, pixels[:1], given.device) for n in names if n), given.json, key)


def throughput(model: seewhy.Model, pixels: Tensor, masks: int, runs: int) -> Iterator[Row]:
    """Measure throughput as a fraction of bare inference, which runs between our batches.

    The rank correlation is that of the map with the one in full precision.
    """
    full: dict[str, Tensor] = {}
    methods = {"rise": {"masks": masks}, "occlusion": {"window": 40, "stride": 8}, "score-cam": {}}
    for precision in PRECISIONS:
        for name, options in methods.items():
            method = seewhy.methods()[name](**options)
            _in_turn(model, pixels, method, precision)  # warm-up, not timed
            measured = [_in_turn(model, pixels, method, precision) for _ in range(runs)]
            bare, ours, maps = zip(*measured, strict=True)
            ranks = _rank_correlation(maps[0], full.setdefault(name, maps[0]))
            yield {
                "case": f"{name}, throughput",
                "precision": precision,
                "bare, ms a variant": 1e3 * statistics.median(bare),
                "ours, ms a variant": 1e3 * statistics.median(ours),
                "share": statistics.median(b / o for b, o in zip(bare, ours, strict=True)),
                "rank correlation": ranks,
            }


def _in_turn(
    model: seewhy.Model, pixels: Tensor, method: seewhy.Method, precision: str
) -> tuple[float, float, Tensor]:
    """Return seconds per variant of bare inference and of ours, and the first picture's map.

    Both alternate, so that changes in machine speed affect both.
    """
    size = BATCH[model.device.type]
    with borrowed(model.net), torch.no_grad():
        net = prepare(model, pixels[:1], precision)
        batch = net.model.laid_out(net.normalised(pixels[:1].repeat(size, 1, 1, 1)))
        net.logits(batch)
    spent = count = 0.0

    def bare(*_: object) -> None:
        nonlocal spent, count
        begun = clock()
        with torch.no_grad():
            net.logits(batch)
            net.logits(batch)
        spent += clock() - begun
        count += 2 * size

    begun = clock()
    e = seewhy.explain(model, pixels, method, precision=precision, progress=bare)
    ours = clock() - begun - spent
    return spent / count, ours / (len(pixels) * e.cost.forwards), e.heatmap[0].flatten()


def beside_peers(model: seewhy.Model, pixels: Tensor) -> Iterator[Row]:
    """Compare the time with the peer's best batch size, and the bfloat16 map with the full one."""
    from captum.attr import Occlusion
    from pytorch_grad_cam import ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = model.net.eval()
    normal = model.normalised(pixels).contiguous()
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
        theirs = min(_seconds(run, batch) for batch in PEERS[model.device.type])
        maps, spent = [], []
        for precision in PRECISIONS:
            begun = clock()
            e = seewhy.explain(model, pixels, name, target, precision=precision, **ours[name])
            spent.append(clock() - begun)
            maps.append(e.heatmap.flatten())
        yield {
            "case": name,
            "peer": peer,
            "peer, s": theirs,
            "ours, s": spent[0],
            "times": theirs / spent[0],
            "bfloat16, s": spent[1],
            "times in bfloat16": theirs / spent[1],
            "rank correlation": _rank_correlation(*maps),
        }


def incremental(name: str, pixels: Tensor, device: str) -> Row:
    """Compare incremental inference of windows with full forward passes."""
    options = {"init_weights": False} if name == "googlenet" else {}
    net = get_model(name, weights=None, **options).eval().to(device)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    model = seewhy.Model(net, mean=mean, std=std, name=name)
    starts = torch.arange(0, 224 - WINDOW + 1, STRIDE, device=device)
    top, left = (g.flatten() for g in torch.meshgrid(starts, starts, indexing="ij"))
    whole = _bare(model, pixels, "full")
    with borrowed(model.net), torch.no_grad():
        fast = prepare(model, pixels)
        normal = fast.normalised(pixels)
        run = Incremental(fast.logits)
        patches = torch.zeros(TOGETHER, 3, WINDOW, WINDOW, device=device)
        run(normal, patches[:1], top[:1], left[:1])
        begun, error = clock(), 0.0
        parts = torch.arange(len(top), device=device).split(TOGETHER)
        results = [run(normal, patches[: len(p)], top[p], left[p]) for p in parts]
        spent = (clock() - begun) / len(top)
        for part, logits in list(zip(parts, results, strict=True))[::6]:
            error = max(error, _difference(fast, normal, top[part[:4]], left[part[:4]], logits[:4]))
    whole = (whole + _bare(model, pixels, "full")) / 2
    return {
        "case": f"{len(top)} windows of {WINDOW} px",
        "network": name,
        "whole, ms a window": 1e3 * whole,
        "incremental, ms": 1e3 * spent,
        "times": whole / spent,
        "largest relative difference": error,
    }


def _difference(net: Inference, normal: Tensor, top: Tensor, left: Tensor, logits: Tensor) -> float:
    """Return the largest difference of incremental logits from exact ones, relative to these."""
    copies = normal.repeat(len(top), 1, 1, 1)
    for copy, y, x in zip(copies, top.tolist(), left.tolist(), strict=True):
        copy[:, y : y + WINDOW, x : x + WINDOW] = 0
    expected = net.logits(copies)
    return float((logits - expected).abs().max() / expected.abs().max())


def _bare(model: seewhy.Model, pixels: Tensor, precision: str) -> float:
    """Return seconds per picture of bare inference: the network alone, on a prepared batch."""
    size = BATCH[model.device.type]
    with borrowed(model.net), torch.no_grad():
        net = prepare(model, pixels[:1], precision)
        many = pixels[:1].repeat(size, 1, 1, 1)
        batch = net.model.laid_out(net.normalised(many))
        net.logits(batch)
        rounds = 4
        while True:  # measure for at least two seconds
            begun = clock()
            for _ in range(rounds):
                net.logits(batch)
            spent = clock() - begun
            if spent > 2:
                return spent / (rounds * size)
            rounds *= 2


def _seconds(run: Callable[[int], None], batch: int) -> float:
    begun = clock()
    run(batch)
    return clock() - begun


def _rank_correlation(one: Tensor, other: Tensor) -> float:
    ranks = torch.stack([v.argsort().argsort().double() for v in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


if __name__ == "__main__":
    main()
