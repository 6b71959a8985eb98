"""The mean magnitude of the Fourier coefficients of natural pictures, for any size.

`python -m seewhy.synthesis.spectrum` measures it on the photographs of scikit-image that have free
licences, in decorrelated colours, and writes `spectrum.json`: the magnitude of each component as a
function of the frequency, since it hardly depends on the direction (van der Schaaf, van Hateren
1996, doi 10.1016/0042-6989(95)00350-8).
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

FILE = Path(__file__).with_suffix(".json")
LOWEST, HIGHEST, POINTS = 1 / 256, 0.5 * 2**0.5, 24  # cycles per pixel; spaced logarithmically
CROP = 256


def magnitudes(size: tuple[int, int, int]) -> Float[Tensor, "channels height half"]:
    """Return the magnitudes for pictures of (channels, height, width), 0 for the constant part.

    With other than three channels all get the magnitudes of the first component, brightness.
    """
    channels, height, width = size
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.sqrt(rows**2 + columns**2)
    known = np.log(_frequencies())
    curves = [np.interp(np.log(frequency.clip(LOWEST / 8)), known, c) for c in np.log(_measured())]
    values = np.exp(np.stack(curves if channels == 3 else curves[:1] * channels))
    values[:, 0, 0] = 0
    return torch.from_numpy(values).float()


def _frequencies() -> np.ndarray:
    return np.geomspace(LOWEST, HIGHEST, POINTS)


@cache
def _measured() -> np.ndarray:
    return np.array(json.loads(FILE.read_text())["magnitudes"])


def measure(pictures: list[Float[Tensor, "3 height width"]]) -> np.ndarray:
    """Return the mean magnitude by component and frequency, [3, POINTS]."""
    from seewhy.synthesis.colours import decorrelated

    window = torch.hann_window(CROP, periodic=False)
    window = torch.outer(window, window)
    edges = np.geomspace(LOWEST, HIGHEST, POINTS + 1)
    rows, columns = np.fft.fftfreq(CROP)[:, None], np.fft.rfftfreq(CROP)
    bins = np.digitize(np.sqrt(rows**2 + columns**2), edges[:-1]) - 1
    total, count = np.zeros((3, POINTS)), np.zeros(POINTS)
    for picture in pictures:
        waves = decorrelated(picture[None].clamp(0.01, 0.99).logit())[0]
        waves = waves - waves.mean((1, 2), keepdim=True)
        for top in range(0, waves.shape[1] - CROP + 1, CROP // 2):
            for left in range(0, waves.shape[2] - CROP + 1, CROP // 2):
                crop = waves[:, top : top + CROP, left : left + CROP] * window
                size = torch.fft.rfft2(crop, norm="ortho").abs().numpy()
                for number in range(POINTS):
                    inside = bins == number
                    total[:, number] += size[:, inside].sum(1)
                    count[number] += inside.sum()
    return total / count.clip(1)


def main() -> None:
    """Measure the photographs, fill frequencies that none has, and write the file."""
    from seewhy.images import load_picture
    from seewhy.sources.photographs import photographs

    found = measure([load_picture(p.path).pixels for p in photographs()])
    seen = found[0] > 0
    filled = [np.interp(range(POINTS), np.flatnonzero(seen), curve[seen]) for curve in found]
    rounded = [[round(float(v), 5) for v in curve] for curve in filled]
    FILE.write_text(json.dumps({"source": "photographs of scikit-image", "magnitudes": rounded}))


if __name__ == "__main__":
    main()
