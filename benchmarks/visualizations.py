"""Are visualisations what units want to see? Measured on two networks trained on ImageNet.

    SEEWHY_REAL=FOLDER python -m benchmarks.visualizations

For 64 channels (or all, if there are fewer), drawn at random, of three layers each: does the
picture activate the channel more than 99.9 % of 500 photographs do, when it is transformed in ways
that were not used? For 50 classes: is the picture classified as its class, by the same network and
by the other one? A line is added to `results/visualizations.jsonl` when a layer is finished, so an
interrupted run goes on.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file

import seewhy
from seewhy.synthesis.visualization import Visualization, beside_photographs, joined

RESULTS = Path(__file__).with_name("results") / "visualizations.jsonl"
LAYERS = {
    "squeezenet1_1": ("features.5", "features.8", "features.12"),
    "efficientnet-lite0": ("blocks.2", "blocks.4", "blocks.6"),
}
CHANNELS, CLASSES, SEED = 64, 50, 0
TOGETHER = 16
STEPS, CLASS_STEPS = 160, 128


def squeezenet(real: Path) -> seewhy.Model:
    """Return the SqueezeNet with the weights of the folder."""
    net = torchvision.models.squeezenet1_1()
    state = load_file(real / "models" / "squeezenet1_1_imagenet_fp16.safetensors")
    net.load_state_dict({name: value.float() for name, value in state.items()})
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return seewhy.Model(
        net, mean=mean, std=std, preparation=seewhy.Preparation((224, 224), 256),
        name="squeezenet1_1",
    )  # fmt: skip


def channels(model: seewhy.Model, layer: str, photographs: Path, folder: Path) -> dict[str, Any]:
    """Visualise random channels of a layer, and compare them with photographs."""
    count = model.layer_graph().layer(layer).channels
    generator = torch.Generator().manual_seed(SEED)
    chosen = sorted(torch.randperm(count, generator=generator)[:CHANNELS].tolist())
    names = [f"{layer}:{channel}" for channel in chosen]
    start = time.perf_counter()
    result = _in_parts(model, names, steps=STEPS)
    seconds = time.perf_counter() - start
    result = beside_photographs(result, model, names, photographs)
    result.save(folder / f"{model.name}.{layer}.html")
    result.save(folder / f"{model.name}.{layer}.png")
    assert result.natural is not None
    limit = result.natural.scores.quantile(0.999, 0)
    return {
        "what": "channels", "count": len(names), "photographs": len(result.natural),
        "above_999": int((result.unseen > limit).sum()),
        "never_active": int((result.natural.scores.amax(0) <= 0).sum()),
        "seconds": round(seconds, 1), "steps": STEPS, "side": result.pictures.shape[-1],
        "below": [n for n, above in zip(names, result.unseen > limit, strict=True) if not above],
    }  # fmt: skip


def classes(model: seewhy.Model, judge: seewhy.Model, folder: Path) -> dict[str, Any]:
    """Visualise random classes, and ask both networks what they see."""
    generator = torch.Generator().manual_seed(SEED)
    chosen = sorted(torch.randperm(1000, generator=generator)[:CLASSES].tolist())
    start = time.perf_counter()
    result = _in_parts(model, chosen, steps=CLASS_STEPS, judge=judge)
    result.save(folder / f"{model.name}.classes.html")
    assert result.seen is not None and result.judged is not None
    return {
        "what": "classes", "count": len(chosen), "judge": judge.name,
        "seen_in_top_5": sum(map(bool, result.seen)),
        "judged_in_top_5": sum(map(bool, result.judged)),
        "seconds": round(time.perf_counter() - start, 1), "steps": CLASS_STEPS,
        "side": result.pictures.shape[-1],
    }  # fmt: skip


def _in_parts(model: seewhy.Model, targets: list, **settings: Any) -> Visualization:
    parts = []
    for first in range(0, len(targets), TOGETHER):
        parts.append(seewhy.visualize(model, targets[first : first + TOGETHER], **settings))
        print(f"  {first + len(parts[-1])} of {len(targets)}", file=sys.stderr, flush=True)
    return joined(parts)


def main() -> None:
    """Measure what has not been measured yet."""
    real = Path(os.environ["SEEWHY_REAL"])
    folder = Path(os.environ.get("PICTURES", "visualizations"))
    folder.mkdir(exist_ok=True)
    models = [squeezenet(real), seewhy.open_model("efficientnet-lite0")]
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    done = {(line["model"], line["layer"]) for line in map(json.loads, lines)}
    for model, judge in (models, models[::-1]):
        for layer in (*LAYERS[model.name], "classes"):
            if (model.name, layer) in done:
                continue
            print(f"{model.name} {layer}", file=sys.stderr, flush=True)
            measured = (
                classes(model, judge, folder)
                if layer == "classes"
                else channels(model, layer, real / "images" / "imagenet", folder)
            )
            line = {"model": model.name, "layer": layer, **measured}
            with RESULTS.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
