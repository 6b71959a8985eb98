"""Unusual but sound pictures work as a person expects."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from terminal import files_in

from seewhy.show import load


def _save(kind: str, scene: Image.Image) -> str:
    """Write `scene` as a picture of this kind."""
    match kind:
        case "1x1":
            Image.new("RGB", (1, 1), "red").save("odd.png")
            return "odd.png"
        case "CMYK":
            scene.convert("CMYK").save("odd.jpg")
            return "odd.jpg"
        case "16-bit":
            grey = np.asarray(scene.convert("L")).astype(np.uint16) * 257
            Image.fromarray(grey).save("odd.png")
            return "odd.png"
        case "animated":
            scene.save("odd.gif", save_all=True, append_images=[scene.rotate(90)] * 3)
            return "odd.gif"
        case "transparent":
            with_alpha = scene.convert("RGBA")
            with_alpha.putalpha(Image.linear_gradient("L").resize(scene.size))
            with_alpha.save("odd.png")
            return "odd.png"
        case "palette":
            scene.convert("P").save("odd.png")
            return "odd.png"
        case "black and white":
            scene.convert("1").save("odd.png")
            return "odd.png"
    raise ValueError(kind)


KINDS = ["1x1", "CMYK", "16-bit", "animated", "transparent", "palette", "black and white"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["png", "npz"])
def test_an_odd_picture_is_explained(kind, suffix, here, scene, seewhy):
    name = _save(kind, scene)
    out = seewhy(f"explain {name} -o out.{suffix}").fine()
    assert name in out and f"out.{suffix}" in out
    assert (here / f"out.{suffix}").stat().st_size > 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is valid text")
@pytest.mark.parametrize("suffix", ["png", "json", "html", "npz"])
def test_a_file_name_that_is_no_text(suffix, here, seewhy):
    os.rename("dog.jpg", b"d\xffg.jpg")  # noqa: PTH104
    Path("out").mkdir()
    seewhy(f"explain . --format {suffix} -o out").fine()
    assert files_in(Path("out")) == [f"d_g.grad-cam.{suffix}"]


def test_the_camera_s_rotation_is_applied(here, scene, seewhy):
    """A picture stored on its side, with the tag that says so, is explained as the upright one."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    scene.save("upright.png")
    scene.rotate(90).save("tagged.png", exif=exif)
    seewhy("explain upright.png tagged.png --format npz -o out -q").fine()
    upright, tagged = (load(f"out/{name}.grad-cam.npz") for name in ("upright", "tagged"))
    assert upright.heatmap.abs().max() > 0
    assert (upright.heatmap == tagged.heatmap).all()
