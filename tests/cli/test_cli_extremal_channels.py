"""`seewhy extremal-channels`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminal import files_in

import seewhy as library
from seewhy.concepts.extremal_channels_view import data

QUICK = "extremal-channels dog.jpg --layer stages.1 --steps 4"


def test_a_figure_and_a_line_on_each_picture(here, seewhy):
    out = seewhy(f"{QUICK} --shares 0.1,0.3").fine()
    assert files_in(here) == ["dog.extremal-channels.png", "dog.jpg"]
    assert "stages.1 of scenes" in out and out.count("channels keep") == 2
    assert "dog.jpg: " in out
    assert out.endswith("written   dog.extremal-channels.png\n")


def test_it_is_what_the_same_call_in_python_gives(photos, seewhy):
    line = (
        "extremal-channels photos --layer stages.1 --shares 0.2,0.4 --target mug --together "
        "--steps 5 --photographs photos --batch-size 2 -o c.json --json"
    )
    said = json.loads(seewhy(line).fine())
    assert said.pop("file") == "c.json"
    assert json.loads(Path("c.json").read_text()) == said
    files = sorted(photos.iterdir())
    found = library.extremal_channels(
        "scenes", [f"photos/{f.name}" for f in files], "stages.1", "mug", (0.2, 0.4),
        together=True, steps=5, photographs="photos", batch_size=2,
    )  # fmt: skip
    assert data(found) == said
    assert [one["target"] for one in said["pictures"]] == ["mug"] * 3
    assert said["photographs"] == 3 and len(said["mean"]["shares"]) == 2


def test_quiet_says_nothing(here, seewhy):
    assert seewhy(f"{QUICK} --quiet --precision fast -o c.png").fine() == ""
    assert files_in(here) == ["c.png", "dog.jpg"]


def test_photographs_that_cannot_be_read_are_left_out(photos, seewhy):
    (photos / "bad.jpg").write_text("no picture")
    result = seewhy(f"{QUICK} --photographs photos")
    assert result.status == 2
    assert (
        "crops     from 3 photographs" in result.out and Path("dog.extremal-channels.png").exists()
    )
    (line,) = result.lines
    assert line.startswith("seewhy: skipped: photos/bad.jpg")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--layer stagess", ["unknown layer 'stagess'", "did you mean stages"]),
        ("--layer head", ["head", "no rows and columns", "stages"]),
        ("--layer stages:3", ["a layer without channel"]),
        ("--shares 1.5", ["shares must be between 0 and 1", "1.5"]),
        ("--shares 0", ["shares must be between 0 and 1"]),
        ("--shares nan", ["shares must be between 0 and 1"]),
        ("--shares ,", ["shares must be between 0 and 1"]),
        ("--shares few", ["--shares must be numbers between 0 and 1", "'few'"]),
        ("--target botle", ["unknown class 'botle'", "did you mean bottle"]),
        ("--steps 0", ["at least one step"]),
        ("--steps many", ["--steps must be a whole number", "'many'"]),
        ("--batch-size 0", ["--batch-size must be at least 1", "0"]),
        ("--precision half", ["precision", "fast", "half"]),
        ("--photographs nowhere", ["no picture file nowhere"]),
        ("--photographs empty", ["empty holds no picture"]),
        ("--photographs text.jpg", ["text.jpg", "not a picture"]),
        ("-o out.gif", ["out.gif", ".png"]),
        ("-o nowhere/out.png", ["no folder nowhere"]),
    ],
)
def test_mistakes_end_in_one_line(line, words, here, seewhy):
    Path("empty").mkdir()
    Path("text.jpg").write_text("This is not a picture.")
    seewhy(f"extremal-channels dog.jpg {line}").refused(*words)
    assert files_in(here) == ["dog.jpg", "text.jpg"]


def test_ctrl_c_leaves_nothing_half_written(here):
    words = QUICK.replace("--steps 4", "--steps 100000").split()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(
        (sys.executable, "-m", "seewhy", *words),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **streams,
    )
    time.sleep(6)  # it is loaded by then, or still loading: both end alike
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=60)
    assert (running.returncode, out, said) == (130, "", "seewhy: interrupted\n")
    assert files_in(here) == ["dog.jpg"]
