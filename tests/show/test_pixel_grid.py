"""A saved PNG is drawn without matplotlib and looks like the matplotlib figure."""

import io

import numpy as np
import pytest
from PIL import Image

from seewhy.attribution.figure import figure, image
from seewhy.show.rendering import image_bytes


def grey(content: bytes) -> np.ndarray:
    """Return the image at 1/16 of its size, so that the outlines of letters do not matter."""
    picture = Image.open(io.BytesIO(content)).convert("L")
    return np.asarray(picture.resize((picture.width // 16, picture.height // 16)), dtype=float)


@pytest.mark.parametrize("kind", ["explanation", "panel", "questions", "broken"])
def test_it_looks_like_the_figure(kind, request):
    result = request.getfixturevalue(kind)
    drawn = Image.open(io.BytesIO(image_bytes(figure(result), ".png")))
    painted = image(result)
    assert max(abs(a - b) for a, b in zip(drawn.size, painted.size, strict=True)) <= 1
    a, b = grey(image_bytes(figure(result), ".png")), grey(image_bytes(painted, ".png"))
    height, width = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    a, b = a[:height, :width], b[:height, :width]
    assert np.abs(a - b).mean() < 0.1 * np.abs(a - 255).mean()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_saving_pixels_makes_no_figure(explanation, suffix, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a figure takes longer than a Grad-CAM")

    monkeypatch.setattr("seewhy.attribution.explanation_view.figure", refuse)
    explanation.save(tmp_path / f"map{suffix}")
    with pytest.raises(AssertionError, match="longer"):
        explanation.save(tmp_path / "map.svg")
