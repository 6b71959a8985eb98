"""Runs over many pictures: one file each, left out by name, resumed only where all is the same."""

import json
import os
import random
import signal
import string
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from terminal import files_in

from seewhy.cli.outputs import LONGEST, names_in
from seewhy.images import Preparation, load_picture, prepare, reduced
from seewhy.results.base import load
from seewhy.support.manifest import NAME, Manifest

COMMANDS = {
    "explain": ("grad-cam", "png"),
    "compare --methods gradient,grad-cam": ("compare", "html"),
    "relevant-channels --count 2": ("relevant-channels", "png"),
    "channel-selectivity --methods gradient": ("channel-selectivity", "png"),
    "sufficiency --areas 0.1 --steps 2": ("sufficiency", "png"),
    "extremal-channels --steps 2": ("extremal-channels", "png"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_fills_a_folder(command, photos, seewhy):
    (photos / "bad.jpg").write_text("not a picture")
    name, suffix = COMMANDS[command]
    expected = [f"{stem}.{name}.{suffix}" for stem in "abc"]
    result = seewhy(f"{command} photos -o out --batch-size 2")
    assert result.status == 2 and result.lines == [
        "seewhy: skipped: photos/bad.jpg is not a picture Pillow can read; give a JPEG, PNG, WebP, "
        "GIF or TIFF file"
    ]
    assert files_in(Path("out")) == expected
    (photos / "bad.jpg").unlink()
    Path(f"out/{expected[1]}").unlink()
    out = seewhy(f"{command} photos -o out --resume --json").fine()
    assert [Path(one["file"]).name for one in json.loads(out)] == [expected[1]]


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("explain")])
def test_a_bad_picture_is_left_out_of_a_figure(command, photos, seewhy):
    (photos / "bad.jpg").write_text("not a picture")
    result = seewhy(f"{command} photos -o all.json --json")
    assert result.status == 2 and "bad.jpg" in result.err
    assert json.loads(result.out)["file"] == "all.json"
    assert Path("all.json").exists()


def test_too_many_pictures_for_a_figure(here, scene, seewhy):
    Path("many").mkdir()
    for number in range(65):
        scene.resize((16, 16)).save(f"many/{number}.png")
    seewhy("compare many").refused("65 pictures are too many", "folder")


def test_only_what_is_the_same_counts_as_done(photos, scene, seewhy):
    run = "explain photos -o out --resume --format npz"
    seewhy(run).fine()
    assert seewhy(run).fine() == "3 of 3 pictures were done before\n"
    scene.rotate(90).save(photos / "a.jpg")
    assert "1 to be done again: the picture changed" in seewhy(run).fine()
    Path("out/b.grad-cam.npz").write_bytes(b"")
    assert "1 to be done again: the file is damaged" in seewhy(run).fine()
    assert load("out/b.grad-cam.npz").method == "grad-cam"
    for option, what in {
        "--target mug": "target",
        "--layer stages.1": "hyperparameters",
        "--precision fast": "precision",
        "--seed 1": "seed",
    }.items():
        out = seewhy(f"{run} {option}").fine()
        again = out.splitlines()[0]
        assert again.startswith("3 to be done again: made with different") and what in again
    # The same numbers, whatever the batch size.
    seewhy(run).fine()
    assert "3 of 3" in seewhy(f"{run} --batch-size 1").fine()


def test_other_weights_are_another_model(photos, seewhy):
    import seewhy as package

    source = next(Path(package.__file__).parent.glob("zoo/scenes.safetensors"))
    weights = load_file(source)
    save_file(weights, "weights.safetensors")
    Path("mine.py").write_text(
        "from safetensors.torch import load_file\n"
        "import seewhy\n"
        "def make():\n"
        "    net = seewhy.open_model('scenes').net\n"
        "    net.load_state_dict(load_file('weights.safetensors'))\n"
        "    return net\n"
    )
    run = "explain photos -o out --resume -m mine:make"
    seewhy(run).fine()
    assert "3 of 3" in seewhy(run).fine()
    name = next(name for name, value in weights.items() if value.is_floating_point())
    save_file(weights | {name: weights[name] * 1.01}, "weights.safetensors")
    assert "3 to be done again: made with different weights" in seewhy(run).fine()


def test_a_file_without_a_record_is_not_taken_for_a_result(photos, seewhy):
    Path("out").mkdir()
    Path("out/a.grad-cam.png").write_text("somebody else's")
    out = seewhy("explain photos -o out --resume").fine()
    assert "1 to be done again: there is no record of what made it" in out


def test_a_manifest_says_what_made_each_file(photos, seewhy):
    seewhy("explain photos -o out --target mug -q").fine()
    settings, *records = map(json.loads, Path(f"out/{NAME}").read_text().splitlines())
    assert settings["settings"]["method"] == "grad-cam"
    assert {"weights", "class names", "torch", "seed", "target"} <= settings["settings"].keys()
    assert [record["file"] for record in records] == files_in(Path("out"))
    assert {record["settings"] for record in records} == {settings["id"]}


def test_a_torn_manifest_is_read(tmp_path):
    with Manifest.opened(tmp_path, {"a": 1}) as manifest:
        for name in ("one", "two"):
            (tmp_path / name).write_text(name)
            manifest.add(tmp_path / name, name, "hash")
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-20])
    with Manifest.opened(tmp_path, {"a": 1}) as manifest:
        assert manifest.why_not_done(tmp_path / "one", "hash") == ""
        assert manifest.why_not_done(tmp_path / "two", "hash") != ""
        manifest.add(tmp_path / "two", "two", "hash")
    with Manifest.opened(tmp_path, {"a": 1}) as manifest:
        assert manifest.why_not_done(tmp_path / "two", "hash") == ""


def test_two_runs_into_one_folder(photos, seewhy):
    Path("out").mkdir()
    with Manifest.opened(Path("out"), {}):
        seewhy("explain photos -o out").refused("another run is writing into out", "process")
    seewhy("explain photos -o out").fine()


TURNS = """
import os, sys, time
from pathlib import Path
from seewhy.errors import SeewhyError
from seewhy.support.manifest import Manifest

taken, end = 0, time.monotonic() + 3
while time.monotonic() < end:
    try:
        with Manifest.opened(Path(), {}):
            os.close(os.open("held", os.O_CREAT | os.O_EXCL))
            os.remove("held")
            taken += 1
    except SeewhyError:
        pass
print(taken)
"""


def test_only_one_of_four_processes_holds_a_folder(tmp_path):
    """The file `held` can be created only while no other process is inside the block."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TURNS], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(int(number) for number in said) > 3


parts = st.text(
    st.one_of(st.sampled_from(string.ascii_letters + "..  éÉßİ\u0301:\n\x1b[\\"), st.characters()),
    max_size=40,
).filter(lambda part: part not in ("", ".", "..") and "/" not in part and "\0" not in part)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(parts, min_size=1, max_size=3), min_size=1, max_size=8, unique_by=tuple))
def test_names_are_unique_relative_and_bounded(paths: list[list[str]]):
    pictures = [Path("/", *path) for path in paths] + [Path("mirror", *path) for path in paths]
    pictures = list(dict.fromkeys(pictures))
    folder = Path("out")
    names = names_in(folder, pictures, "grad-cam", ".png")
    assert all(name.parent == folder and name.name.isprintable() for name in names)
    assert len({name.name.casefold() for name in names}) == len(pictures)
    assert all(len(os.fsencode(name.name)) <= LONGEST for name in names)
    assert not any(name.name.startswith(".") for name in names)


def test_an_absolute_path_and_its_mirror(here, scene, seewhy):
    for folder in (here / "data", here / "mirror" / "data"):
        folder.mkdir(parents=True)
        scene.save(folder / "dog.jpg")
    seewhy(f"explain {here}/data/dog.jpg mirror/data/dog.jpg -o out -q").fine()
    assert len(files_in(here / "out")) == 2


def test_what_is_kept_of_a_photograph_is_small(tmp_path):
    """And the network sees the same, and a map lies where it lay."""
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 2200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    whole = prepare(load_picture(tmp_path / "large.png"), Preparation((64, 64), resize=72))
    small = reduced(whole)
    assert torch.equal(whole.pixels, small.pixels)
    assert small.pictures[0].size == (698, 1024)
    assert "drawn at 1024 x 698 of 2200 x 1500" in small.pictures[0].notes[-1]
    heat = torch.zeros(64, 64)
    heat[40, 10] = 1
    (large_map, small_map) = (b.views[0].to_original(heat).nan_to_num() for b in (whole, small))
    place = [
        np.array(divmod(int(m.argmax()), m.shape[1])) / m.shape for m in (large_map, small_map)
    ]
    np.testing.assert_allclose(place[0], place[1], atol=0.01)


def kills(here: Path, scene: Image.Image, pictures: int, count: int, seed: int) -> None:
    """Kill runs over pictures at random moments; resumed, all is as if none had been killed."""
    Path("photos").mkdir()
    for number in range(pictures):
        scene.rotate(number).resize((40, 40)).save(f"photos/{number:03}.png")
    command = [sys.executable, "-m", "seewhy", "explain", "photos", "--format", "npz",
               "--batch-size", "2", "-q"]  # fmt: skip
    random_moment = random.Random(seed)
    for number in range(count):
        run = subprocess.Popen([*command, "-o", "killed", "--resume"], start_new_session=True)
        wait_for_results(run, Path("killed"), random_moment.uniform(0, 0.6))
        run.send_signal((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[number % 3])
        assert run.wait(30) in (-signal.SIGKILL, -signal.SIGTERM, 143, 130, 0)
        for file in Path("killed").glob("*.npz"):
            load(file)  # whole
    for folder in ("killed", "straight"):
        subprocess.run([*command, "-o", folder, "--resume"], check=True)
    assert files_in(Path("killed")) == files_in(Path("straight"))
    assert len(files_in(Path("killed"))) == pictures
    for file in Path("straight").glob("*.npz"):
        one, other = load(file), load(Path("killed") / file.name)
        assert torch.equal(one.heatmap, other.heatmap)
        assert torch.equal(one.logits, other.logits)


def wait_for_results(run: subprocess.Popen, folder: Path, more: float) -> None:
    """Wait until the run has written another file, and a random time more."""
    before, end = len(list(folder.glob("*.npz"))), time.monotonic() + 30
    while run.poll() is None and time.monotonic() < end:
        if len(list(folder.glob("*.npz"))) > before:
            break
        time.sleep(0.01)
    time.sleep(more)


def test_killed_runs_can_be_resumed(here, scene):
    kills(here, scene, pictures=10, count=1, seed=0)


@pytest.mark.full
def test_a_hundred_kills(here, scene):
    kills(here, scene, pictures=200, count=100, seed=1)
