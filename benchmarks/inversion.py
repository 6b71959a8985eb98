"""What layers of SqueezeNet still know of photographs, by four priors.

    SEEWHY_REAL=FOLDER python -m benchmarks.inversion

For photographs at 128 pixels and three layers: the relative error of the representation, and the
cosine with the photograph in the features of EfficientNet-Lite0, which took no part. A line is
added to `results/inversion.jsonl` for each photograph and prior; an interrupted run goes on.
"""

import json
import os
import time
from pathlib import Path

import torchvision
from safetensors.torch import load_file

import seewhy

RESULTS = Path(__file__).with_name("results") / "inversion.jsonl"
LAYERS = ("features.3", "features.7", "features.12")
STEPS = {"none": 200, "fourier": 200, "natural": 200, "deep-image": 300}
SIDE, PHOTOGRAPHS = 128, 20


def squeezenet(real: Path) -> seewhy.Model:
    """Return the SqueezeNet with the weights of the folder, for pictures of 128 pixels."""
    net = torchvision.models.squeezenet1_1()
    state = load_file(real / "models" / "squeezenet1_1_imagenet_fp16.safetensors")
    net.load_state_dict({name: value.float() for name, value in state.items()})
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return seewhy.Model(net, mean=mean, std=std, preparation=seewhy.Preparation((SIDE, SIDE), SIDE))


def main() -> None:
    """Measure what has not been measured yet."""
    real = Path(os.environ["SEEWHY_REAL"])
    files = sorted((real / "images" / "imagenet").glob("*.jpg"))
    chosen = files[:: len(files) // PHOTOGRAPHS][:PHOTOGRAPHS]
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    done = {(line["photograph"], line["prior"]) for line in map(json.loads, lines)}
    model, judge = squeezenet(real), seewhy.open_model("efficientnet-lite0")
    for file in chosen:
        for prior, steps in STEPS.items():
            if (file.stem, prior) in done:
                continue
            start = time.perf_counter()
            result = seewhy.invert(model, file, LAYERS, prior=prior, steps=steps, judge=judge)
            assert result.closeness is not None
            line = {
                "photograph": file.stem, "prior": prior, "steps": steps, "layers": LAYERS,
                "error": [round(float(e), 4) for e in result.error[:, 0]],
                "closeness": [round(float(c), 4) for c in result.closeness[:, 0]],
                "seconds": round(time.perf_counter() - start, 1),
            }  # fmt: skip
            print(json.dumps(line), flush=True)
            with RESULTS.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
