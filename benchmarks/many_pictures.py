"""Peak memory of the command line over many large photographs.

    python -m benchmarks.many_pictures [--count 2000] [--folder FOLDER] [COMMAND ...]

Makes 20 different photographs of 4000 x 3000 pixels from those of scikit-image, links them under
`--count` names, runs `seewhy COMMAND FOLDER -o OUT` and prints a line of JSON: the pictures, the
files written, seconds and the peak of memory in MiB. The default command is `explain`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.sources.photographs import photographs

SIZE = (4000, 3000)
DIFFERENT = 20


def make_photographs(folder: Path, count: int) -> None:
    """Write the photographs: enlarged parts of real ones with the noise of a camera."""
    originals = [Image.open(p.path).convert("RGB") for p in photographs()]
    random = np.random.default_rng(0)
    for number in range(min(DIFFERENT, count)):
        picture = originals[number % len(originals)]
        turned = picture.rotate(7 * number, resample=Image.Resampling.BICUBIC)
        pixels = np.asarray(turned.resize(SIZE, Image.Resampling.BICUBIC), np.int16)
        noisy = pixels + random.normal(0, 6, pixels.shape).astype(np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
            folder / f"{number:05}.jpg", quality=92
        )
    for number in range(DIFFERENT, count):
        os.link(folder / f"{number % DIFFERENT:05}.jpg", folder / f"{number:05}.jpg")


def main() -> None:
    """Run the command and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("command", nargs="*", default=["explain"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        pictures, out = Path(name, "pictures"), Path(name, "out")
        pictures.mkdir()
        make_photographs(pictures, arguments.count)
        words = [sys.executable, "-m", "seewhy", *arguments.command, str(pictures), "-o", str(out)]
        start = time.perf_counter()
        subprocess.run([*words, "-q"], check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        files = sum(1 for file in out.iterdir() if not file.name.startswith((".", "seewhy-")))
    said = {"command": arguments.command, "pictures": arguments.count, "files": files}
    print(json.dumps(said | {"seconds": round(seconds, 1), "peak_mib": round(peak)}))


if __name__ == "__main__":
    main()
