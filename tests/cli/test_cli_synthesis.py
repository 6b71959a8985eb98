"""`seewhy visualize` and `seewhy invert`: files, pages, resuming, and refusals in one line."""

import json
from pathlib import Path

import pytest
from terminal import files_in
from torchvision.utils import save_image

from seewhy.scenes import examples, render

QUICK = "--steps 3 --size 64 -q"


@pytest.fixture
def rooms(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, factors in examples(2):
        save_image(render(factors, 64).pixels, f"{name}.png")
    return tmp_path


def test_a_unit_a_class_and_a_sum(rooms, seewhy):
    seewhy(f"visualize stages.1:3 mug {QUICK} -o both.html").fine()
    page = Path("both.html").read_text()
    assert page.count("<figure") == 2 and "stages.1:3" in page and "mug" in page
    seewhy(f"visualize stages.1:3 {QUICK}").fine()
    assert Path("stages.1_3.visualization.png").exists()


def test_json_has_the_evidence(rooms, seewhy):
    done = seewhy("visualize stages.1:3 --steps 3 --size 64 -o a.npz --images . --json").fine()
    (picture,) = json.loads(done)["pictures"]
    assert picture["target"] == "stages.1:3" and picture["steps"] == 3
    assert 0 <= picture["above_photographs"] <= 1 and len(picture["best_photographs"]) == 2


def test_a_whole_layer_is_resumed(rooms, seewhy):
    command = f"visualize --layer stages.1 --channels 0-17,20 -o out {QUICK}"
    seewhy(command).fine()
    parts = ["stages.1.0-15.npz", "stages.1.16-18.npz"]
    assert files_in(Path("out")) == [*parts, "stages.1.visualization.html"]
    assert Path("out/stages.1.visualization.html").read_text().count("<figure") == 19
    written = [Path("out", part).stat().st_mtime_ns for part in parts]
    Path("out", parts[1]).unlink()
    seewhy(f"{command} --resume").fine()
    again = [Path("out", part).stat().st_mtime_ns for part in parts]
    assert again[0] == written[0] and again[1] > written[1]
    seewhy(command.replace("--steps 3", "--steps 4") + " --resume").fine()
    assert Path("out", parts[0]).stat().st_mtime_ns > written[0]


def test_an_inversion_of_two_layers(rooms, seewhy):
    done = seewhy("invert mug.png -l stages.0 -l stages.2 --prior none --steps 3").fine()
    assert "stages.0: relative error" in done and "stages.2: relative error" in done
    assert Path("mug.inversion.png").exists()
    seewhy("invert mug.png star.png -l stages.0 --prior none --steps 2 -o many -q").fine()
    assert files_in(Path("many")) == ["mug.inversion.png", "star.inversion.png"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("visualize", "name a target"),
        ("visualize stages.7:1", "unknown class or unit"),
        ("visualize --layer stages.1 --channels 3-x", "--channels must be like"),
        ("visualize --layer stages.1 --channels 3000", "there is no 3000"),
        ("visualize mug -o a.bmp", "its name must end in"),
        ("visualize mug --resume", "--resume needs a folder"),
        ("visualize mug --images nowhere", "nowhere"),
        ("visualize mug --judge nobody", "nobody"),
        ("invert mug.png -l stages.9", "unknown layer"),
        ("invert mug.png -l stages.1 --prior nice", "unknown prior"),
        ("invert nothing.png -l stages.1", "nothing.png"),
    ],
)
def test_refusals(rooms, seewhy, command, says):
    seewhy(f"{command} --steps 2").refused(says)
    assert not list(rooms.glob("*.visualization*")) and not list(rooms.glob("*.inversion*"))
